"""the tab that saved a requested text last"""

import sqlalchemy as sa
from alembic import op

revision = "e8a40b7c51d3"
down_revision = "b47e0d83c5a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("text_request", sa.Column("tab", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("text_request", "tab")
