"""accounts of staff, their roles and sessions, and the audit log"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d7a3e5b1c082"
down_revision = "5e7c19a3d0b2"
branch_labels = None
depends_on = None

_ROLES = ("author", "translator", "approver", "coordinator", "ops", "administrator")
_ACTIONS = [
    "signed_in",
    "sign_in_refused",
    "signed_out",
    "session_ended",
    "password_changed",
    "reset_requested",
    "second_factor_on",
    "second_factor_off",
    "invited",
    "account_created",
    "roles_changed",
    "account_disabled",
    "account_enabled",
    "document_imported",
    "issue_approved",
    "issue_reopened",
    "issue_scheduled",
    "issue_unscheduled",
    "issue_paused",
    "issue_resumed",
    "issue_limited",
    "issue_cancelled",
    "relay_suspended",
    "relay_released",
    "subscriber_opened",
]


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _account(ondelete: str = "CASCADE", *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id", ondelete=ondelete), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("address", sa.Text(), nullable=False, unique=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary()),
        _time("totp_confirmed_at", nullable=True),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        _time("disabled_at", nullable=True),
    )
    op.create_table(
        "account_role",
        sa.Column("id", sa.Integer(), primary_key=True),
        _account(),
        sa.Column("role", sa.Enum(*_ROLES, name="role"), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), sa.ForeignKey("newsletter.id")),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.UniqueConstraint("account_id", "role", "newsletter_id", postgresql_nulls_not_distinct=True),
    )
    op.create_index(op.f("ix_account_role_account_id"), "account_role", ["account_id"])
    op.create_table(
        "recovery_code",
        sa.Column("id", sa.Integer(), primary_key=True),
        _account(),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        _time("used_at", nullable=True),
    )
    op.create_index(op.f("ix_recovery_code_account_id"), "recovery_code", ["account_id"])
    op.create_table(
        "staff_session",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, unique=True),
        _account(),
        _time("created_at"),
        _time("seen_at"),
        sa.Column("needs_code", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
    )
    op.create_index(op.f("ix_staff_session_account_id"), "staff_session", ["account_id"])
    op.create_table(
        "account_link",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("kind", sa.Enum("invitation", "password_reset", name="account_link_kind"), nullable=False),
        _account(),
        sa.Column("invited_by", sa.Text(), nullable=False),
        _time("created_at"),
        _time("expires_at"),
        _time("used_at", nullable=True),
    )
    op.create_index(op.f("ix_account_link_account_id"), "account_link", ["account_id"])
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        _time("at"),
        _account("SET NULL", nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Enum(*_ACTIONS, name="audit_action"), nullable=False),
        sa.Column("object_kind", sa.Text(), nullable=False),
        sa.Column("object_id", sa.BigInteger()),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
    )
    op.create_index(op.f("ix_audit_event_at"), "audit_event", ["at"])
    op.create_index(op.f("ix_audit_event_account_id"), "audit_event", ["account_id"])
    op.create_index("ix_audit_event_object", "audit_event", ["object_kind", "object_id"])

    op.execute("ALTER TYPE transactional_email_kind ADD VALUE 'invitation'")
    op.execute("ALTER TYPE transactional_email_kind ADD VALUE 'password_reset'")
    op.add_column("transactional_email", sa.Column("account_link_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_transactional_email_account_link_id_account_link"),
        "transactional_email",
        "account_link",
        ["account_link_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(op.f("ix_transactional_email_account_link_id"), "transactional_email", ["account_link_id"])
    _replace_recipient_check("num_nonnulls(subscriber_id, signup_id, change_id, account_link_id) > 0")


def downgrade() -> None:
    op.execute("DELETE FROM transactional_email WHERE account_link_id IS NOT NULL")
    _replace_recipient_check("num_nonnulls(subscriber_id, signup_id, change_id) > 0")
    op.drop_column("transactional_email", "account_link_id")
    for table in ("audit_event", "account_link", "staff_session", "recovery_code", "account_role", "account"):
        op.drop_table(table)
    for name in ("role", "account_link_kind", "audit_action"):
        op.execute(f"DROP TYPE {name}")


def _replace_recipient_check(condition: str) -> None:
    op.drop_constraint(op.f("ck_transactional_email_recipient"), "transactional_email")
    op.create_check_constraint(op.f("ck_transactional_email_recipient"), "transactional_email", condition)
