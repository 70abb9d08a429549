"""address books of newsletters, and contact notes that staff add and remove"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "6d0f3b82c95a"
down_revision = "c5d81e3f9b27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'contact_changed' BEFORE 'header_image'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'contact_changed' BEFORE 'issue_tested'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'contact_card_changed' AFTER 'newsletter_changed'")
    op.create_table(
        "contact_card",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("texts", postgresql.JSONB(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_contact_card_newsletter_id_newsletter")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_card")),
    )
    op.create_index(
        "uq_contact_card_newsletter_id_name",
        "contact_card",
        ["newsletter_id", "name"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.add_column("contact", sa.Column("card_id", sa.Integer()))
    op.add_column("contact", sa.Column("removed_at", sa.DateTime(timezone=True)))
    op.create_index(op.f("ix_contact_card_id"), "contact", ["card_id"])
    op.create_foreign_key(
        op.f("fk_contact_card_id_contact_card"), "contact", "contact_card", ["card_id"], ["id"], ondelete="SET NULL"
    )


def downgrade() -> None:
    """Leave the values of the types: PostgreSQL cannot remove them, and nothing uses them."""
    op.drop_column("contact", "removed_at")
    op.drop_column("contact", "card_id")
    op.drop_table("contact_card")
