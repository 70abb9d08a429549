"""policy refusals of a delivery, progress of a batch, a reason to pause"""

import sqlalchemy as sa
from alembic import op

revision = "8d2f47a1c6e0"
down_revision = "3f6c1d0b8a52"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE pause_reason ADD VALUE IF NOT EXISTS 'first_refused'")
    for table in ("delivery", "transactional_email"):
        op.add_column(table, sa.Column("policy_refusals", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("batch", sa.Column("progressed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # PostgreSQL cannot take a value out of a type: the pause keeps it, unused.
    op.drop_column("batch", "progressed_at")
    for table in ("transactional_email", "delivery"):
        op.drop_column(table, "policy_refusals")
