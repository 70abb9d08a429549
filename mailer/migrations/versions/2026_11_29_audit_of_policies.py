"""the audit log records changes of the policy for missing translations"""

from alembic import op

revision = "b83f0e6c51da"
down_revision = "a86d2e0f5c19"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'issue_policy_changed' AFTER 'issue_deleted'")


def downgrade() -> None:
    """Leave the value: PostgreSQL cannot remove it, and nothing uses it."""
