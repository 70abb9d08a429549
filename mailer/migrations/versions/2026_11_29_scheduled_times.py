"""an issue is scheduled at most two years ahead"""

from alembic import op

revision = "c8e41b6a0f37"
down_revision = "d7a3e5b1c082"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        UPDATE issue SET scheduled_at = NULL, local_time = NULL,
            state = CASE WHEN state = 'scheduled' THEN 'approved' ELSE state END
        WHERE scheduled_at NOT BETWEEN '2000-01-01Z' AND now() + interval '732 days'
            OR local_time NOT BETWEEN '2000-01-01' AND now() + interval '733 days'
    """)
    op.create_check_constraint(
        op.f("ck_issue_scheduled_at"), "issue", "scheduled_at BETWEEN '2000-01-01Z' AND now() + interval '732 days'"
    )
    op.create_check_constraint(
        op.f("ck_issue_local_time"), "issue", "local_time BETWEEN '2000-01-01' AND now() + interval '733 days'"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_issue_local_time"), "issue")
    op.drop_constraint(op.f("ck_issue_scheduled_at"), "issue")
