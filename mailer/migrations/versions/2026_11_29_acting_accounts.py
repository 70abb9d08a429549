"""entries of an issue's log refer to the account, and audit events name the roles"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "6d1f0b93e7a4"
down_revision = "b83f0e6c51da"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("issue_event", sa.Column("account_id", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_issue_event_account_id_account"),
        "issue_event",
        "account",
        ["account_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.execute("UPDATE issue_event SET actor = '' WHERE actor = 'mailer'")
    op.add_column(
        "audit_event",
        sa.Column("roles", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("audit_event", "roles")
    op.execute("UPDATE issue_event SET actor = 'mailer' WHERE actor = ''")
    op.drop_column("issue_event", "account_id")
