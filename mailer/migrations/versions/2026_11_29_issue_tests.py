"""tests of an issue, sent to an address before the issue is"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c3b7d94e1f58"
down_revision = "4f7a1c93b8d2"
branch_labels = None
depends_on = None

_RECIPIENT = "num_nonnulls(subscriber_id, signup_id, change_id, account_link_id{more}) > 0"


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE IF NOT EXISTS 'tested' AFTER 'policy'")
    op.execute("ALTER TYPE transactional_email_kind ADD VALUE IF NOT EXISTS 'issue_test'")
    op.create_table(
        "issue_test",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("slots", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_issue_test_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issue_test")),
    )
    op.create_index(op.f("ix_issue_test_issue_id"), "issue_test", ["issue_id"])
    op.add_column("transactional_email", sa.Column("issue_test_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_transactional_email_issue_test_id_issue_test"),
        "transactional_email",
        "issue_test",
        ["issue_test_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(op.f("ix_transactional_email_issue_test_id"), "transactional_email", ["issue_test_id"])
    op.drop_constraint(op.f("ck_transactional_email_recipient"), "transactional_email")
    op.create_check_constraint(
        op.f("ck_transactional_email_recipient"), "transactional_email", _RECIPIENT.format(more=", issue_test_id")
    )


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.execute("DELETE FROM transactional_email WHERE issue_test_id IS NOT NULL")
    op.drop_constraint(op.f("ck_transactional_email_recipient"), "transactional_email")
    op.drop_column("transactional_email", "issue_test_id")
    op.create_check_constraint(
        op.f("ck_transactional_email_recipient"), "transactional_email", _RECIPIENT.format(more="")
    )
    op.drop_table("issue_test")
