"""drafts of a language: removed while nothing is written in it, or marked as ready"""

from alembic import op

revision = "b3f96d20a8e4"
down_revision = "e07b52c94d1f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for enum in ("issue_event_kind", "audit_action"):
        for value, after in (("language_removed", "language_begun"), ("texts_ready", "language_removed")):
            op.execute(f"ALTER TYPE {enum} ADD VALUE '{value}' AFTER '{after}'")


def downgrade() -> None:
    """Do nothing: PostgreSQL cannot remove values from enums."""
