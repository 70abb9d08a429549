"""local time and quiet hours"""

import sqlalchemy as sa
from alembic import op

revision = "c5d1e9a04f7b"
down_revision = "b1f0c7a95d3e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("issue", sa.Column("local_time", sa.DateTime(timezone=False), nullable=True))
    op.add_column("newsletter", sa.Column("quiet_since", sa.Time(), nullable=True))
    op.add_column("newsletter", sa.Column("quiet_until", sa.Time(), nullable=True))


def downgrade() -> None:
    op.drop_column("newsletter", "quiet_until")
    op.drop_column("newsletter", "quiet_since")
    op.drop_column("issue", "local_time")
