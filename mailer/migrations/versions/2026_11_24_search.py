"""search over stories"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "b1f0c7a95d3e"
down_revision = "2601872c2950"
branch_labels = None
depends_on = None

# PostgreSQL's own stemmers, by language. Serbian's reads both scripts, and knows the forms of its neighbours.
_STEMMERS = {
    "ar": "arabic",
    "bs": "serbian",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hr": "serbian",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    known = " ".join(f"WHEN '{tag}' THEN 'pg_catalog.{name}'::regconfig" for tag, name in _STEMMERS.items())
    # Bodies of their own kind (RETURN), which a restored dump does not look up by the search path.
    op.execute(f"""
        CREATE FUNCTION search_config(language text) RETURNS regconfig
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN CASE split_part(lower(language), '-', 1) {known} ELSE 'pg_catalog.simple'::regconfig END
    """)
    # Without accents, vowel signs and the like, as people type who are in a hurry: unaccent is an extension
    # that not every server has.
    marks = r"U&'[\0300-\036F\0591-\05C7\0610-\061A\0640\064B-\065F\0670]'"
    op.execute(f"""
        CREATE FUNCTION search_folded(words text) RETURNS text
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN translate(
            regexp_replace(normalize(lower(words), NFKD), {marks}, '', 'g'), 'đłøıςß', 'dloiσs'
        )
    """)
    op.execute("""
        CREATE FUNCTION search_words(language text, headline text, body text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        RETURN setweight(to_tsvector(search_config(language), headline), 'A')
            || setweight(to_tsvector(search_config(language), search_folded(headline)), 'A')
            || setweight(to_tsvector(search_config(language), body), 'D')
            || setweight(to_tsvector(search_config(language), search_folded(body)), 'D')
    """)
    op.add_column(
        "story_translation",
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed("search_words(language, headline, body)", persisted=True),
            nullable=False,
        ),
    )
    op.create_index(
        op.f("ix_story_translation_words"), "story_translation", ["words"], postgresql_using="gin"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_story_translation_words"), "story_translation")
    op.drop_column("story_translation", "words")
    op.execute("DROP FUNCTION search_words, search_folded, search_config")
