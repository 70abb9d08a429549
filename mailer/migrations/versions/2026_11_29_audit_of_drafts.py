"""the audit log records deleted drafts and removed stories"""

from alembic import op

revision = "e2b9c47d60f1"
down_revision = "d7a3e5b1c082"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'issue_deleted' BEFORE 'issue_approved'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'story_removed' BEFORE 'issue_approved'")


def downgrade() -> None:
    """Leave the values: PostgreSQL cannot remove them, and nothing uses them."""
