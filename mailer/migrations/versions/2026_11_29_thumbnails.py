"""thumbnails of pictures"""

import sqlalchemy as sa
from alembic import op

revision = "e41f7b06d9a3"
down_revision = "f49d08b27c15"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("picture", sa.Column("thumbnail_id", sa.Integer(), nullable=True))
    op.create_foreign_key(op.f("fk_picture_thumbnail_id_picture"), "picture", "picture", ["thumbnail_id"], ["id"])


def downgrade() -> None:
    op.drop_column("picture", "thumbnail_id")
