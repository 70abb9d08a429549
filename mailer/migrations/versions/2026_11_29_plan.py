"""the plan: order of sections, stories that are used again, and who changed what"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "c5d81e3f9b27"
down_revision = "e8a40b7c51d3"
branch_labels = None
depends_on = None

_EVENTS = {
    "language_begun": "written",
    "story_added": "language_begun",
    "story_copied": "story_added",
    "story_held_over": "story_moved",
    "section_order": "story_restored",
}
_ACTIONS = {
    "issue_begun": "text_written",
    "language_begun": "issue_begun",
    "story_added": "text_request_withdrawn",
    "story_copied": "story_added",
    "story_held_over": "story_moved",
    "sections_ordered": "story_restored",
}


def upgrade() -> None:
    for enum, values in (("issue_event_kind", _EVENTS), ("audit_action", _ACTIONS)):
        for value, after in values.items():
            op.execute(f"ALTER TYPE {enum} ADD VALUE '{value}' AFTER '{after}'")
    op.add_column("issue", sa.Column("section_order", sa.ARRAY(sa.Integer()), server_default="{}", nullable=False))
    op.add_column("story", sa.Column("copied_from_id", sa.Integer()))
    op.create_foreign_key(
        op.f("fk_story_copied_from_id_story"), "story", "story", ["copied_from_id"], ["id"], ondelete="SET NULL"
    )
    op.create_index(
        op.f("ix_story_copied_from_id"),
        "story",
        ["copied_from_id"],
        postgresql_where=sa.text("copied_from_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_story_issue_id"), "story", ["issue_id"])
    kind = postgresql.ENUM("removed", "moved", "held_over", "section_order", name="story_change_kind")
    kind.create(op.get_bind())
    op.add_column("story_change", sa.Column("account_id", sa.Integer()))
    op.create_foreign_key(
        op.f("fk_story_change_account_id_account"),
        "story_change",
        "account",
        ["account_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.add_column("story_change", sa.Column("actor", sa.Text(), server_default="", nullable=False))
    op.alter_column("story_change", "actor", server_default=None)
    op.add_column(
        "story_change",
        sa.Column("kind", postgresql.ENUM(name="story_change_kind", create_type=False), nullable=True),
    )
    op.execute("UPDATE story_change SET kind = CASE WHEN removed THEN 'removed' ELSE 'moved' END::story_change_kind")
    op.alter_column("story_change", "kind", nullable=False)
    op.drop_column("story_change", "removed")
    op.alter_column("story_change", "story_id", nullable=True)


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.execute("DELETE FROM story_change WHERE kind NOT IN ('removed', 'moved')")
    op.alter_column("story_change", "story_id", nullable=False)
    op.add_column("story_change", sa.Column("removed", sa.Boolean(), server_default="true", nullable=False))
    op.alter_column("story_change", "removed", server_default=None)
    op.execute("UPDATE story_change SET removed = kind = 'removed'")
    for column in ("kind", "actor", "account_id"):
        op.drop_column("story_change", column)
    op.execute("DROP TYPE story_change_kind")
    op.drop_index(op.f("ix_story_issue_id"), "story")
    op.drop_column("story", "copied_from_id")
    op.drop_column("issue", "section_order")
