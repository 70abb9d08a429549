"""pictures: library of each newsletter, crops, and bytes outside the database"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "d27f5b90e6a4"
down_revision = "6d0f3b82c95a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'story_picture' AFTER 'header_image'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'story_picture_changed' AFTER 'header_image_changed'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'picture_deleted' AFTER 'story_picture_changed'")
    op.execute("ALTER TYPE story_change_kind ADD VALUE 'picture'")
    op.alter_column("picture", "data", nullable=True)
    op.add_column("picture", sa.Column("original_id", sa.Integer()))
    op.add_column("picture", sa.Column("crop", postgresql.JSONB()))
    op.add_column(
        "picture", sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.create_foreign_key(op.f("fk_picture_original_id_picture"), "picture", "picture", ["original_id"], ["id"])
    op.create_index(op.f("ix_picture_original_id"), "picture", ["original_id"])
    op.create_table(
        "library_picture",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alt", postgresql.JSONB(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("added_by_id", sa.Integer(), nullable=True),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_library_picture_newsletter_id_newsletter")
        ),
        sa.ForeignKeyConstraint(["picture_id"], ["picture.id"], name=op.f("fk_library_picture_picture_id_picture")),
        sa.ForeignKeyConstraint(
            ["added_by_id"], ["account.id"], name=op.f("fk_library_picture_added_by_id_account"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_library_picture")),
        sa.UniqueConstraint("newsletter_id", "picture_id", name=op.f("uq_library_picture_newsletter_id_picture_id")),
    )
    op.create_index(op.f("ix_library_picture_picture_id"), "library_picture", ["picture_id"])
    # The pictures that issues already have are in the library of their newsletter.
    op.execute(
        """
        INSERT INTO library_picture (newsletter_id, picture_id, name, alt, credit, added_by, at)
        SELECT i.newsletter_id, used.picture_id, '', coalesce((array_agg(used.alt ORDER BY i.id DESC))[1], '{}'),
            '', '', min(i.created_at)
        FROM (
            SELECT s.issue_id, s.picture_id, (
                SELECT jsonb_object_agg(t.language, t.alt) FROM story_translation t
                WHERE t.story_id = s.id AND t.alt <> ''
            ) AS alt FROM story s WHERE s.picture_id IS NOT NULL
            UNION ALL SELECT id, header_image_id, NULL FROM issue WHERE header_image_id IS NOT NULL
        ) AS used JOIN issue i ON i.id = used.issue_id
        GROUP BY 1, 2 ORDER BY min(i.created_at), 2
        """
    )


def downgrade() -> None:
    """Leave the enums' new values, which nothing uses then. Pictures must be in the database again."""
    op.drop_table("library_picture")
    for column in ("at", "crop", "original_id"):
        op.drop_column("picture", column)
    op.alter_column("picture", "data", nullable=False)
