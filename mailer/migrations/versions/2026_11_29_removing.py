"""stories can be removed, sections can be withdrawn, numbers of cancelled issues can be used again"""

import sqlalchemy as sa
from alembic import op

revision = "5e7c19a3d0b2"
down_revision = "5a0c7e92d4b1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE IF NOT EXISTS 'story_removed' AFTER 'imported'")
    op.add_column("section", sa.Column("offered", sa.Boolean(), server_default="true", nullable=False))
    op.drop_constraint(op.f("uq_issue_newsletter_id_number"), "issue")
    op.create_index(
        op.f("uq_issue_newsletter_id_number"),
        "issue",
        ["newsletter_id", "number"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )


def downgrade() -> None:
    # PostgreSQL cannot remove a value from an enum: it stays, unused.
    op.drop_index(op.f("uq_issue_newsletter_id_number"), table_name="issue")
    op.execute("UPDATE issue SET number = number || ' (' || id || ')' WHERE state = 'cancelled'")
    op.create_unique_constraint(op.f("uq_issue_newsletter_id_number"), "issue", ["newsletter_id", "number"])
    op.drop_column("section", "offered")
