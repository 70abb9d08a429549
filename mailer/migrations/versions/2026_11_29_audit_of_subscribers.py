"""the audit log records changes and exports of subscribers"""

from alembic import op

revision = "a60d3f918be4"
down_revision = "7c3e90ab15d4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'subscriber_changed'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'subscribers_exported'")


def downgrade() -> None:
    """Leave the values: PostgreSQL cannot remove them, and nothing uses them."""
