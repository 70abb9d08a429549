"""who readers became, and suppressions without addresses"""

import sqlalchemy as sa
from alembic import op

revision = "a4d90b6e71c3"
down_revision = "f08c5b7e2a16"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "merged",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_merged_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merged")),
    )
    op.create_index(op.f("ix_merged_subscriber_id"), "merged", ["subscriber_id"])
    # As domain.outcomes.impersonal has it: replies were kept as they came, with the addresses that they quote.
    op.execute(r"""
        UPDATE suppression SET detail = regexp_replace(detail, '[^\s<>"'']+@[^\s<>"'']+', '…', 'g')
        WHERE detail LIKE '%@%'
    """)


def downgrade() -> None:
    op.drop_table("merged")
