"""subject, preheader and introduction of editions without some of an issue's sections"""

import sqlalchemy as sa
from alembic import op

revision = "1c9d84f2e6b7"
down_revision = "e91d3c5f7a28"
branch_labels = None
depends_on = None

_COLUMNS = ("partial_subject", "partial_preheader", "partial_intro")


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    for column in _COLUMNS:
        op.add_column("issue_translation", sa.Column(column, sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_column("issue_translation", column)
