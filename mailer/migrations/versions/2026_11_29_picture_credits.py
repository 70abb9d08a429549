"""credits of pictures"""

import sqlalchemy as sa
from alembic import op

revision = "c1a7d40e82b5"
down_revision = "9a4e6c0d17f3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("story_translation", sa.Column("picture_credit", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("story_translation", "picture_credit")
