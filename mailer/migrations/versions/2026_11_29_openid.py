"""accounts are linked with people at a provider of OpenID Connect"""

import sqlalchemy as sa
from alembic import op

revision = "0d4b7e92c6f3"
down_revision = "6d2b8f04a7c1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("openid_issuer", sa.Text()))
    op.add_column("account", sa.Column("openid_subject", sa.Text()))
    op.create_unique_constraint(
        "uq_account_openid_issuer_openid_subject", "account", ["openid_issuer", "openid_subject"]
    )
    op.execute("ALTER TYPE audit_action ADD VALUE 'identity_linked' AFTER 'second_factor_off'")
    op.execute("ALTER TYPE audit_action ADD VALUE 'identity_unlinked' AFTER 'identity_linked'")


def downgrade() -> None:
    """Leave the values of the audit log: PostgreSQL cannot remove them, and nothing uses them."""
    op.drop_column("account", "openid_subject")
    op.drop_column("account", "openid_issuer")
