"""what workers look up in the network for the check of an issue"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "b7d2e94c1f58"
down_revision = "c61f8e3a7d40"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "network_lookup",
        sa.Column("kind", sa.Enum("link", "spf", "dkim", "dmarc", name="lookup_kind"), primary_key=True),
        sa.Column("target", sa.Text(), primary_key=True),
        sa.Column(
            "outcome",
            sa.Enum("works", "broken", "unclear", "not_checked", name="lookup_outcome"),
            nullable=False,
        ),
        sa.Column("reason", postgresql.JSONB(), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(target) <= 2000", name=op.f("ck_network_lookup_target")),
    )
    op.create_table(
        "issue_lookup",
        sa.Column("issue_id", sa.Integer(), sa.ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    op.create_index(
        "ix_issue_lookup_requested_at",
        "issue_lookup",
        ["requested_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("issue_lookup")
    op.drop_table("network_lookup")
    op.execute("DROP TYPE lookup_outcome")
    op.execute("DROP TYPE lookup_kind")
