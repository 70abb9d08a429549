"""the audit log records deleted drafts and removed stories"""

from alembic import op

revision = "e2b9c47d60f1"
down_revision = "c8e41b6a0f37"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'issue_deleted' BEFORE 'issue_approved'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'story_removed' BEFORE 'issue_approved'")


def downgrade() -> None:
    """Leave the values: PostgreSQL cannot remove them, and nothing uses them."""
