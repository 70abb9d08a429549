"""Recent suppressions are found by their time"""

from alembic import op

revision = "c40a7f93d1e6"
down_revision = "8b1e5d27c94f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_index(op.f("ix_suppression_created_at"), "suppression", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_suppression_created_at"), table_name="suppression")
