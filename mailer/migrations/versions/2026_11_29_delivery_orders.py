"""orders that change many deliveries"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c61f8e3a7d40"
down_revision = "b5e70a2c94d8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    resolution = postgresql.ENUM("sent", "failed", "resend", "retry", name="delivery_resolution", create_type=False)
    op.create_table(
        "delivery_order",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("resolution", resolution, nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("after_issue", sa.Integer(), nullable=True),
        sa.Column("after_subscriber", sa.BigInteger(), nullable=True),
        sa.Column("ordered_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index(
        "ix_delivery_order_unfinished", "delivery_order", ["id"], postgresql_where=sa.text("finished_at IS NULL")
    )


def downgrade() -> None:
    op.drop_table("delivery_order")
