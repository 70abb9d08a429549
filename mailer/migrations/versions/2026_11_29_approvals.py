"""languages of an issue are approved one by one, by another person where the newsletter says so"""

import sqlalchemy as sa
from alembic import op

revision = "2c8e5d71f0ba"
down_revision = "1f5d3a8c6b90"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE issue_event_kind ADD VALUE IF NOT EXISTS 'approval_withdrawn' AFTER 'approved'")
    op.add_column("newsletter", sa.Column("four_eyes", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("issue_translation", sa.Column("imported_by_id", sa.Integer(), nullable=True))
    op.add_column("issue_translation", sa.Column("imported_by", sa.Text(), server_default="", nullable=False))
    op.create_foreign_key(
        op.f("fk_issue_translation_imported_by_id_account"),
        "issue_translation",
        "account",
        ["imported_by_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_table(
        "issue_approval",
        sa.Column("issue_id", sa.Integer(), sa.ForeignKey("issue.id"), primary_key=True),
        sa.Column("language", sa.Text(), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id", ondelete="SET NULL"), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), server_default="", nullable=False),
    )


def downgrade() -> None:
    op.drop_table("issue_approval")
    op.drop_column("issue_translation", "imported_by")
    op.drop_column("issue_translation", "imported_by_id")
    op.drop_column("newsletter", "four_eyes")
