"""settling uncertain deliveries"""

import sqlalchemy as sa
from alembic import op

revision = "e3a7b20c9d41"
down_revision = "d7a41c0be925"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("delivery", sa.Column("resends", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("issue", sa.Column("retried_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("newsletter", sa.Column("uncertain", sa.Text(), server_default="hold", nullable=False))
    op.create_check_constraint(
        op.f("ck_newsletter_uncertain"), "newsletter", "uncertain IN ('hold','send_again')"
    )


def downgrade() -> None:
    op.drop_column("newsletter", "uncertain")
    op.drop_column("issue", "retried_at")
    op.drop_column("delivery", "resends")
