"""a sample of the flow each minute"""

import sqlalchemy as sa
from alembic import op

revision = "a86d2e0f5c19"
down_revision = "a60d3f918be4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flow_sample",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("deferral_rate", sa.Float(), nullable=True),
        sa.Column("rate_limit", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", "minute", name=op.f("pk_flow_sample")),
    )
    op.create_index(op.f("ix_flow_sample_minute"), "flow_sample", ["minute"])


def downgrade() -> None:
    op.drop_table("flow_sample")
