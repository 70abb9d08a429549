"""rates, relays and breakers"""

import sqlalchemy as sa
from alembic import op

revision = "d7a41c0be925"
down_revision = "c5d1e9a04f7b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "throttle",
        sa.Column("kind", sa.Enum("relay", "destination", name="throttle_kind"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("aim", sa.Float(), nullable=True),
        sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shut_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trips", sa.Integer(), nullable=False),
        sa.Column("probed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_throttle")),
    )
    op.create_table(
        "relay_day",
        sa.Column("relay", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("handed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("relay", "day", name=op.f("pk_relay_day")),
    )
    op.create_table(
        "mail_domain",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("looked_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_mail_domain")),
    )
    op.add_column("issue", sa.Column("rate", sa.Float(), nullable=True))
    op.add_column("delivery", sa.Column("relay", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "relay")
    op.drop_column("issue", "rate")
    op.drop_table("mail_domain")
    op.drop_table("relay_day")
    op.drop_table("throttle")
    op.execute("DROP TYPE throttle_kind")
