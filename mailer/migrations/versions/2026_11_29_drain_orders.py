"""orders to workers, and the audit log records them and changes of suppressions"""

import sqlalchemy as sa
from alembic import op

revision = "f3a81d6c20b9"
down_revision = "2c7e91d5a0f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "drain_order",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_drain_order")),
    )
    op.execute("ALTER TYPE audit_action ADD VALUE 'worker_drained' AFTER 'relay_released'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'worker_released' AFTER 'worker_drained'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'address_suppressed' AFTER 'worker_released'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'suppression_lifted' AFTER 'address_suppressed'")


def downgrade() -> None:
    """Drop the table. The values of the enum stay: PostgreSQL cannot remove them, and nothing uses them."""
    op.drop_table("drain_order")
