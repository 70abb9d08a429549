"""newsletters have a time zone and a revision, and changes at the desk are in the audit log"""

import sqlalchemy as sa
from alembic import op

revision = "6d2b8f04a7c1"
down_revision = "6d1f0b93e7a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("newsletter", sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False))
    op.add_column("newsletter", sa.Column("revision", sa.Integer(), server_default="1", nullable=False))
    op.add_column("newsletter", sa.Column("desk_revision", sa.Integer(), server_default="0", nullable=False))
    op.execute("ALTER TYPE audit_action ADD VALUE 'newsletter_changed'")


def downgrade() -> None:
    """Leave the action: PostgreSQL cannot remove it, and nothing uses it."""
    op.drop_column("newsletter", "desk_revision")
    op.drop_column("newsletter", "revision")
    op.drop_column("newsletter", "time_zone")
