"""indexes of searches hold the id, and repeated refusals have one"""

import sqlalchemy as sa
from alembic import op

revision = "7a9d40c5e2f6"
down_revision = "b7d2e94c1f58"
branch_labels = None
depends_on = None

_FOLDED = {"address": "lower(address)", "domain": "lower(split_part(address, '@', 2))"}


def upgrade() -> None:
    for name, folded in _FOLDED.items():
        op.drop_index(f"ix_subscriber_{name}", "subscriber")
        op.create_index(
            f"ix_subscriber_{name}", "subscriber", [sa.text(f"{folded} text_pattern_ops")], postgresql_include=["id"]
        )
    op.create_index(
        "ix_suppression_refused",
        "suppression",
        ["created_at"],
        postgresql_where=sa.text("reason = 'repeated_refusals'"),
    )


def downgrade() -> None:
    op.drop_index("ix_suppression_refused", "suppression")
    for name, folded in _FOLDED.items():
        op.drop_index(f"ix_subscriber_{name}", "subscriber")
        op.create_index(f"ix_subscriber_{name}", "subscriber", [sa.text(f"{folded} text_pattern_ops")])
