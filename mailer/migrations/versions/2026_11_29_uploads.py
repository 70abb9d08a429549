"""uploaded documents and pictures"""

import sqlalchemy as sa
from alembic import op

revision = "f49d08b27c15"
down_revision = "91c4d8e2f7a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "document_upload",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("account_id", sa.Integer(), sa.ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), sa.ForeignKey("newsletter.id"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "uploaded_picture",
        sa.Column("newsletter_id", sa.Integer(), sa.ForeignKey("newsletter.id"), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("uploaded_picture")
    op.drop_table("document_upload")
