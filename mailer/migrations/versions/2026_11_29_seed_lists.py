"""newsletters have a seed list, tests of an issue a web view, and the audit log records tests and header images"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9a4e6c0d17f3"
down_revision = "7a9d40c5e2f6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'issue_tested' AFTER 'story_restored'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'header_image_changed' AFTER 'issue_tested'")
    op.execute("ALTER TYPE issue_event_kind ADD VALUE 'seed_list' AFTER 'sending'")
    op.add_column("newsletter", sa.Column("seed_list", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("issue_test", sa.Column("html", sa.Text(), server_default="", nullable=False))
    op.add_column("issue_test", sa.Column("seed", sa.Boolean(), server_default="false", nullable=False))
    op.create_index(
        op.f("uq_issue_test_seed"),
        "issue_test",
        ["issue_id", "address_hash"],
        unique=True,
        postgresql_where=sa.text("seed"),
    )


def downgrade() -> None:
    # PostgreSQL cannot remove values from enums: they stay, unused.
    op.drop_index(op.f("uq_issue_test_seed"), table_name="issue_test")
    op.drop_column("issue_test", "seed")
    op.drop_column("issue_test", "html")
    op.drop_column("newsletter", "seed_list")
