"""uploaded lists of subscribers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2c7e91d5a0f4"
down_revision = "2c8e5d71f0ba"
branch_labels = None
depends_on = None

_STATES = ("reading", "ready", "importing", "done", "refused", "cancelled")


def upgrade() -> None:
    op.create_table(
        "import_job",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("newsletter_id", sa.Integer(), sa.ForeignKey("newsletter.id"), nullable=False, index=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id", ondelete="SET NULL"), index=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Enum(*_STATES, name="import_state"), nullable=False),
        sa.Column("update_known", sa.Boolean(), nullable=False),
        sa.Column("summary", JSONB(), nullable=False),
        sa.Column("counts", JSONB(), nullable=False),
        sa.Column("bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "import_job_part",
        sa.Column("job_id", sa.BigInteger(), sa.ForeignKey("import_job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("is_rejects", sa.Boolean(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    for action in ("list_uploaded", "list_imported", "list_cancelled"):
        op.execute(f"ALTER TYPE audit_action ADD VALUE '{action}'")


def downgrade() -> None:
    """Leave the actions: PostgreSQL cannot remove them, and nothing uses them."""
    op.drop_table("import_job_part")
    op.drop_table("import_job")
    op.execute("DROP TYPE import_state")
