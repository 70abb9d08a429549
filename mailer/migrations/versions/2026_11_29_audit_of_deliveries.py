"""the audit log records retried and resolved deliveries"""

from alembic import op

revision = "4f7a1c93b8d2"
down_revision = "1c9d84f2e6b7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'deliveries_retried' AFTER 'relay_released'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'deliveries_resolved' AFTER 'deliveries_retried'")


def downgrade() -> None:
    """Leave the values: PostgreSQL cannot remove them, and nothing uses them."""
