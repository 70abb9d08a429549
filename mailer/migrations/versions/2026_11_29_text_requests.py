"""requests for texts"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d2f81c6a94b7"
down_revision = "3b9e6f27d1c4"
branch_labels = None
depends_on = None

_RECIPIENT = "num_nonnulls(subscriber_id, signup_id, change_id, account_link_id, issue_test_id{more}) > 0"
_ACTIONS = (
    "text_request_withdrawn",
    "text_taken_in",
    "text_sent_back",
    "text_handed_in",
    "text_reminded",
    "text_requested",
)
"""Each goes before the one that was added last."""
_OPEN = "handed_in_at IS NULL AND done_at IS NULL AND withdrawn_at IS NULL"


def upgrade() -> None:
    for kind in ("text_request", "text_reminder", "text_handed_in", "text_sent_back"):
        op.execute(f"ALTER TYPE transactional_email_kind ADD VALUE IF NOT EXISTS '{kind}' BEFORE 'issue_test'")
    for action in _ACTIONS:
        op.execute(f"ALTER TYPE audit_action ADD VALUE IF NOT EXISTS '{action}' AFTER 'issue_policy_changed'")
    op.execute("ALTER TYPE version_kind ADD VALUE IF NOT EXISTS 'contributed'")
    subject = postgresql.ENUM("front_matter", "story", "contact", name="text_subject", create_type=False)
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "text_request",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("subject", subject, nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("task", sa.Enum("writing", "translation", name="text_task"), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary()),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("asked_by_id", sa.Integer()),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("reminded_at", moment),
        sa.Column("handed_in_at", moment),
        sa.Column("sent_back_at", moment),
        sa.Column("done_at", moment),
        sa.Column("withdrawn_at", moment),
        sa.Column("version_id", sa.BigInteger()),
        sa.CheckConstraint("(account_id IS NULL) = (address_hash IS NOT NULL)", name=op.f("ck_text_request_asked")),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_text_request_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_text_request_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["asked_by_id"], ["account.id"], name=op.f("fk_text_request_asked_by_id_account"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["text_version.id"],
            name=op.f("fk_text_request_version_id_text_version"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_request")),
    )
    for column in ("issue_id", "account_id", "address_hash", "asked_by_id", "version_id"):
        op.create_index(op.f(f"ix_text_request_{column}"), "text_request", [column])
    op.create_index("ix_text_request_open", "text_request", ["due_on"], postgresql_where=sa.text(_OPEN))
    op.add_column("transactional_email", sa.Column("text_request_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_transactional_email_text_request_id_text_request"),
        "transactional_email",
        "text_request",
        ["text_request_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(op.f("ix_transactional_email_text_request_id"), "transactional_email", ["text_request_id"])
    op.drop_constraint(op.f("ck_transactional_email_recipient"), "transactional_email")
    op.create_check_constraint(
        op.f("ck_transactional_email_recipient"), "transactional_email", _RECIPIENT.format(more=", text_request_id")
    )


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.execute("DELETE FROM transactional_email WHERE text_request_id IS NOT NULL")
    op.drop_constraint(op.f("ck_transactional_email_recipient"), "transactional_email")
    op.drop_column("transactional_email", "text_request_id")
    op.create_check_constraint(
        op.f("ck_transactional_email_recipient"), "transactional_email", _RECIPIENT.format(more="")
    )
    op.drop_table("text_request")
    op.execute("DROP TYPE text_task")
