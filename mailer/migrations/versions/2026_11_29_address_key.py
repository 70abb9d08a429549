"""the fingerprint of the key that addresses are hashed with"""

import sqlalchemy as sa
from alembic import op

revision = "7c3e90ab15d4"
down_revision = "c3b7d94e1f58"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "address_key",
        sa.Column("id", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_address_key_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_key")),
    )


def downgrade() -> None:
    op.drop_table("address_key")
