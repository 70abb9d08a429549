"""Which digest held an issue for whom, the issues of a digest, and the hour of digests"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "5e0c9a7d4b16"
down_revision = "e41f7b06d9a3"
branch_labels = None
depends_on = None

# A digest held the issues whose sending began in its month.
_RECORD = (
    """
    CREATE TEMPORARY TABLE held ON COMMIT DROP AS
    SELECT g.id AS digest, i.id AS issue, i.frozen_at FROM issue g JOIN issue i ON i.newsletter_id = g.newsletter_id
    WHERE g.digest_month IS NOT NULL AND i.digest_month IS NULL
      AND date_trunc('month', i.frozen_at AT TIME ZONE 'UTC') = g.digest_month
    """,
    """
    UPDATE delivery d SET digest_id = held.digest FROM held
    WHERE d.issue_id = held.issue AND d.skip_reason = 'digest_only'
    """,
    """
    UPDATE issue g SET digest_source_ids = q.issues
    FROM (SELECT digest, array_agg(issue ORDER BY frozen_at, issue) AS issues FROM held GROUP BY 1) q
    WHERE g.id = q.digest
    """,
)


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("newsletter", sa.Column("digest_time", sa.Time(), server_default="09:00", nullable=False))
    sources = postgresql.ARRAY(sa.Integer())
    op.add_column("issue", sa.Column("digest_source_ids", sources, server_default="{}", nullable=False))
    op.add_column("story", sa.Column("source_issue_id", sa.Integer(), nullable=True))
    op.create_foreign_key(op.f("fk_story_source_issue_id_issue"), "story", "issue", ["source_issue_id"], ["id"])
    for table in ("edition", "language_choice"):
        op.add_column(table, sa.Column("sources", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("uq_edition_issue_id_language_sections"), "edition")
    op.create_unique_constraint(
        op.f("uq_edition_issue_id_language_sections_sources"),
        "edition",
        ["issue_id", "language", "sections", "sources"],
    )
    op.drop_constraint(op.f("pk_language_choice"), "language_choice")
    op.create_primary_key(op.f("pk_language_choice"), "language_choice", ["issue_id", "languages", "sources"])
    op.add_column("delivery", sa.Column("digest_id", sa.Integer(), nullable=True))
    for statement in _RECORD:
        op.execute(statement)
    op.create_index(
        "ix_delivery_awaiting_digest",
        "delivery",
        ["issue_id", "subscriber_id"],
        postgresql_where=sa.text("skip_reason = 'digest_only' AND digest_id IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_delivery_awaiting_digest", table_name="delivery")
    op.drop_column("delivery", "digest_id")
    op.execute("DELETE FROM language_choice WHERE sources <> 0")
    op.drop_constraint(op.f("pk_language_choice"), "language_choice")
    op.create_primary_key(op.f("pk_language_choice"), "language_choice", ["issue_id", "languages"])
    op.drop_constraint(op.f("uq_edition_issue_id_language_sections_sources"), "edition")
    op.create_unique_constraint(
        op.f("uq_edition_issue_id_language_sections"), "edition", ["issue_id", "language", "sections"]
    )
    for table in ("language_choice", "edition"):
        op.drop_column(table, "sources")
    op.drop_column("story", "source_issue_id")
    op.drop_column("issue", "digest_source_ids")
    op.drop_column("newsletter", "digest_time")
