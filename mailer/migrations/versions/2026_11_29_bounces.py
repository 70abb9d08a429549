"""Repeated refusals suppress an address; mail to a return path that is not recognized is kept"""

import sqlalchemy as sa
from alembic import op

revision = "8b1e5d27c94f"
down_revision = "8d2f47a1c6e0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("ALTER TYPE suppression_reason ADD VALUE 'repeated_refusals'")
    for name, default in (("suppress_after_refused_issues", "5"), ("suppress_after_refused_days", "30")):
        op.add_column("newsletter", sa.Column(name, sa.Integer(), server_default=default, nullable=False))
    op.create_index(op.f("ix_feedback_issue_id"), "feedback", ["issue_id"], unique=False)
    op.create_table(
        "unrecognized_mail",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("beginning", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_unrecognized_mail_issue_id_issue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unrecognized_mail")),
        sa.UniqueConstraint("subscriber_id", "issue_id", name=op.f("uq_unrecognized_mail_subscriber_id_issue_id")),
    )
    op.create_index(op.f("ix_unrecognized_mail_at"), "unrecognized_mail", ["at"], unique=False)


def downgrade() -> None:
    op.drop_table("unrecognized_mail")
    op.drop_index(op.f("ix_feedback_issue_id"), table_name="feedback")
    op.drop_column("newsletter", "suppress_after_refused_days")
    op.drop_column("newsletter", "suppress_after_refused_issues")
    # PostgreSQL cannot remove a value from an enum: the type is made anew without it.
    op.execute("DELETE FROM suppression WHERE reason = 'repeated_refusals'")
    op.execute("ALTER TYPE suppression_reason RENAME TO suppression_reason_old")
    op.execute(
        "CREATE TYPE suppression_reason AS ENUM ('hard_bounce', 'complaint', 'manual', 'erased', 'address_changed')"
    )
    op.execute(
        "ALTER TABLE suppression ALTER COLUMN reason TYPE suppression_reason USING reason::text::suppression_reason"
    )
    op.execute("DROP TYPE suppression_reason_old")
