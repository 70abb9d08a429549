"""enum types for tracking and uncertain deliveries, and clearer names in answers"""

import sqlalchemy as sa
from alembic import op

revision = "b1d2f7c45e90"
down_revision = "c40a7f93d1e6"
branch_labels = None
depends_on = None


# In the answers to why somebody unsubscribed.
_RENAME_KEY = """
    UPDATE feedback SET detail = detail - :old || jsonb_build_object(:new, detail->:old)
    WHERE kind = 'unsubscribe' AND detail ? :old
"""


def _rename_keys(**names: str) -> None:
    for old, new in names.items():
        values = {"old": old, "new": new}
        op.execute(sa.text(_RENAME_KEY).bindparams(*(sa.bindparam(k, v, sa.Text()) for k, v in values.items())))


def upgrade() -> None:
    op.drop_constraint(op.f("ck_newsletter_tracking"), "newsletter")
    op.drop_constraint(op.f("ck_newsletter_uncertain_policy"), "newsletter")
    op.execute("CREATE TYPE tracking_mode AS ENUM ('none', 'aggregate', 'individual')")
    op.execute("CREATE TYPE uncertain_policy AS ENUM ('keep', 'resend')")
    op.execute("ALTER TABLE newsletter ALTER tracking TYPE tracking_mode USING tracking::tracking_mode")
    op.execute("""
        ALTER TABLE newsletter ALTER uncertain_policy DROP DEFAULT,
            ALTER uncertain_policy TYPE uncertain_policy USING uncertain_policy::uncertain_policy,
            ALTER uncertain_policy SET DEFAULT 'keep'
    """)
    _rename_keys(why="reason", words="comment")


def downgrade() -> None:
    _rename_keys(reason="why", comment="words")
    op.execute("""
        ALTER TABLE newsletter ALTER uncertain_policy DROP DEFAULT,
            ALTER uncertain_policy TYPE text, ALTER uncertain_policy SET DEFAULT 'keep',
            ALTER tracking TYPE text
    """)
    op.execute("DROP TYPE tracking_mode, uncertain_policy")
    op.create_check_constraint(
        op.f("ck_newsletter_tracking"), "newsletter", "tracking IN ('none','aggregate','individual')"
    )
    op.create_check_constraint(
        op.f("ck_newsletter_uncertain_policy"), "newsletter", "uncertain_policy IN ('keep','resend')"
    )
