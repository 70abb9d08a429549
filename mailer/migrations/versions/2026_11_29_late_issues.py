"""an issue that is too late waits"""

import sqlalchemy as sa
from alembic import op

revision = "e91d3c5f7a28"
down_revision = "5e0c9a7d4b16"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE issue_event_kind ADD VALUE IF NOT EXISTS 'late' AFTER 'unscheduled'")
    op.execute("ALTER TYPE pause_reason ADD VALUE IF NOT EXISTS 'late'")
    op.add_column("newsletter", sa.Column("max_late_hours", sa.Integer(), server_default="3", nullable=False))


def downgrade() -> None:
    # PostgreSQL cannot take a value out of a type: both keep it, unused.
    op.drop_column("newsletter", "max_late_hours")
