"""refusals are counted for each batch, and figures of an issue are kept"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0d94c7f1e5a3"
down_revision = "f3a81d6c20b9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch_refusal",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("relay", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("wording", sa.Integer(), nullable=False),
        sa.Column("deferred", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("example", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batch.id"], name=op.f("fk_batch_refusal_batch_id_batch"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "domain", "relay", "code", "wording", name=op.f("pk_batch_refusal")),
    )
    op.create_index(
        "ix_batch_refusal_waiting", "batch_refusal", ["batch_id"], postgresql_where=sa.text("deferred > 0 OR held > 0")
    )
    op.create_index("ix_batch_uncertain", "batch", ["issue_id"], postgresql_where=sa.text("uncertain > 0"))
    op.create_table(
        "issue_figures",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("figures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_issue_figures_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issue_id", "name", name=op.f("pk_issue_figures")),
    )


def downgrade() -> None:
    op.drop_table("issue_figures")
    op.drop_index("ix_batch_uncertain", "batch")
    op.drop_table("batch_refusal")
