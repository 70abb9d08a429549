"""who has which text open, and texts written in the browser in the logs"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "b47e0d83c5a1"
down_revision = "d2f81c6a94b7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE audit_action ADD VALUE 'text_written' AFTER 'document_imported'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'written' AFTER 'imported'")
    subject = postgresql.ENUM("front_matter", "story", "contact", name="text_subject", create_type=False)
    op.create_table(
        "open_text",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("subject", subject, nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("tab", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_writer", sa.Boolean(), nullable=False),
        sa.Column("saved", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_open_text_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_open_text_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issue_id", "subject", "subject_id", "language", "tab", name=op.f("pk_open_text")),
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("ix_open_text_account_id"), "open_text", ["account_id"])


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.drop_table("open_text")
