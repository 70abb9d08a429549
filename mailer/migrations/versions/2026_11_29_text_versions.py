"""versions of texts, and the language that a story is written in first"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "3b9e6f27d1c4"
down_revision = "c1a7d40e82b5"
branch_labels = None
depends_on = None

_UNFINISHED = "issue.state NOT IN ('sent', 'cancelled') AND issue.digest_month IS NULL"
"""The issues whose texts can still change."""
_TRANSLATIONS = """
UPDATE text_version AS version SET source_version_id = source.id
FROM text_version AS source
WHERE source.issue_id = version.issue_id AND source.subject = version.subject
    AND source.subject_id = version.subject_id AND version.language <> source.language
    AND source.language = (
        SELECT front.language
        FROM issue_translation AS front
        JOIN issue ON issue.id = front.issue_id
        JOIN newsletter ON newsletter.id = issue.newsletter_id
        WHERE front.issue_id = version.issue_id AND front.language = ANY (newsletter.languages)
        ORDER BY front.language <> newsletter.default_language, array_position(newsletter.languages, front.language)
        LIMIT 1
    )
"""
"""Ties translations to the text in the issue's leading language."""


def upgrade() -> None:
    op.add_column("story", sa.Column("source_language", sa.Text()))
    op.create_table(
        "text_version",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Enum("front_matter", "story", "contact", name="text_subject"), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("saved", "imported", "restored", "removed", "set_aside", name="version_kind"),
            nullable=False,
        ),
        sa.Column("minor", sa.Boolean(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("source_version_id", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["issue.id"], name=op.f("fk_text_version_issue_id_issue"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_text_version_account_id_account"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["source_version_id"],
            ["text_version.id"],
            name=op.f("fk_text_version_source_version_id_text_version"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_version")),
    )
    op.create_index(
        op.f("ix_text_version_text"), "text_version", ["issue_id", "subject", "subject_id", "language", "id"]
    )
    op.create_index(
        op.f("ix_text_version_source_version_id"),
        "text_version",
        ["source_version_id"],
        postgresql_where=sa.text("source_version_id IS NOT NULL"),
    )
    _record_present_texts()


def _record_present_texts() -> None:
    """Record the texts that can still change as imported, and translations as made from the texts as they are."""
    insert = (
        "INSERT INTO text_version (issue_id, subject, subject_id, language, begun_at, at, revision, account_id, actor,"
        " kind, minor, content) SELECT issue.id, '{subject}', {id}, own.language, now(), now(), 1,"
        " front.imported_by_id, coalesce(front.imported_by, ''), 'imported', false, {content} FROM {table} AS own"
        " {join} LEFT JOIN issue_translation AS front ON front.issue_id = issue.id AND front.language = own.language"
        " WHERE {where}"
    )
    for subject, table, id_column, columns in (
        (
            "front_matter",
            "issue_translation",
            "issue_id",
            ("subject", "preheader", "intro", "partial_subject", "partial_preheader", "partial_intro"),
        ),
        (
            "story",
            "story_translation",
            "story_id",
            ("headline", "datelines", "body", "alt", "picture_credit", "link", "link_label"),
        ),
        ("contact", "contact_translation", "contact_id", ("text",)),
    ):
        join = "JOIN issue ON issue.id = own.issue_id"
        if subject != "front_matter":
            join = f"JOIN {subject} AS owner ON owner.id = own.{id_column} JOIN issue ON issue.id = owner.issue_id"
        pairs = ", ".join(f"'{column}', own.{column}" for column in columns)
        op.execute(
            insert.format(
                subject=subject,
                id=f"own.{id_column}",
                content=f"jsonb_build_object({pairs})",
                table=table,
                join=join,
                where=_UNFINISHED,
            )
        )
    op.execute(_TRANSLATIONS)


def downgrade() -> None:
    op.drop_table("text_version")
    op.execute("DROP TYPE version_kind")
    op.execute("DROP TYPE text_subject")
    op.drop_column("story", "source_language")
