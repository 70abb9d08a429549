"""subscribers are found by address, domain and name without reading all of them"""

import sqlalchemy as sa
from alembic import op

revision = "b5e70a2c94d8"
down_revision = "0d94c7f1e5a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_subscriber_address", "subscriber", [sa.text("lower(address) text_pattern_ops")])
    op.create_index(
        "ix_subscriber_domain", "subscriber", [sa.text("lower(split_part(address, '@', 2)) text_pattern_ops")]
    )
    op.create_index(
        "ix_subscriber_name",
        "subscriber",
        [sa.text("to_tsvector('simple', name)")],
        postgresql_using="gin",
        postgresql_where=sa.text("name <> ''"),
    )


def downgrade() -> None:
    for name in ("name", "domain", "address"):
        op.drop_index(f"ix_subscriber_{name}", "subscriber")
