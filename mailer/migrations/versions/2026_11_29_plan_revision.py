"""a plan stays as it was shown while texts are written"""

import sqlalchemy as sa
from alembic import op

revision = "e07b52c94d1f"
down_revision = "d27f5b90e6a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("issue", sa.Column("plan_revision", sa.Integer(), server_default="1", nullable=False))
    op.execute("UPDATE issue SET plan_revision = revision")


def downgrade() -> None:
    op.drop_column("issue", "plan_revision")
