"""removed and moved stories are kept as they were, so that this can be undone"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "1f5d3a8c6b90"
down_revision = "0d4b7e92c6f3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'story_moved' AFTER 'story_removed'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'story_restored' AFTER 'story_moved'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'story_moved' AFTER 'story_removed'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'story_restored' AFTER 'story_moved'")
    op.create_table(
        "story_change",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("story_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_story_change_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_story_change")),
    )
    op.create_index(op.f("ix_story_change_issue_id"), "story_change", ["issue_id"])


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.drop_table("story_change")
