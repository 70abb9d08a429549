"""since when a breaker is open"""

import sqlalchemy as sa
from alembic import op

revision = "91c4d8e2f7a3"
down_revision = "e2b9c47d60f1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("throttle", sa.Column("open_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("throttle", "open_since")
