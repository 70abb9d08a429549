"""initial schema

Everything that the service keeps, as it was when its first release was made. From here on migrations are append-only:
one that has been released is never edited, removed or joined with another. Whatever changes in the models gets a file
of its own, whose ``down_revision`` is the last one before it, so that every database finds its way from where it is.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "3f6c1d0b8a52"
down_revision = None
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

_TABLES = (
    "newsletter",
    "section",
    "picture",
    "issue",
    "issue_event",
    "issue_translation",
    "story",
    "story_translation",
    "contact",
    "contact_story",
    "contact_translation",
    "subscriber",
    "subscriber_alias",
    "subscription",
    "consent",
    "suppression",
    "signup",
    "address_change",
    "transactional_email",
    "edition",
    "language_choice",
    "batch",
    "delivery",
    "feedback",
    "throttle",
    "relay_daily_usage",
    "mail_domain",
    "rate_limit_window",
    "retention_run",
)
_ENUM_TYPES = (
    "issue_state",
    "missing_translation_policy",
    "translation_status",
    "subscription_state",
    "batch_state",
    "delivery_state",
    "skip_reason",
    "throttle_scope",
    "issue_event_kind",
    "pause_reason",
    "frequency",
    "consent_kind",
    "consent_channel",
    "suppression_reason",
    "suppression_source",
    "transactional_email_kind",
    "feedback_kind",
    "delivery_resolution",
    "resolution_source",
)
_CONSENT_CHANNEL = sa.Enum(
    "sign_up_form",
    "embedded_form",
    "csv_import",
    "manage_page",
    "preferences_page",
    "unsubscribe_page",
    "one_click",
    "mailto",
    "unsubscribe_all_by_mail_link",
    "unsubscribe_all_on_manage_page",
    "undo",
    "by_hand",
    "erasure",
    name="consent_channel",
)


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    _create_search_functions()
    _create_newsletters()
    _create_issues()
    _create_stories()
    _create_subscribers()
    _create_requests()
    _create_editions_and_batches()
    _create_deliveries()
    _create_throttles()
    _create_bookkeeping()


def _create_search_functions() -> None:
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


def _create_newsletters() -> None:
    op.create_table(
        "newsletter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("names", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("taglines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sender_name", sa.Text(), nullable=False),
        sa.Column("sender_address", sa.Text(), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=False),
        sa.Column("postal_address", sa.Text(), nullable=False),
        sa.Column("website", sa.Text(), nullable=False),
        sa.Column("list_id", sa.Text(), nullable=False),
        sa.Column("default_language", sa.Text(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("fallbacks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("theme", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tracking", sa.Text(), nullable=False),
        sa.Column("public", sa.Boolean(), server_default="true", nullable=False),
        sa.Column(
            "text_overrides",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("uncertain_policy", sa.Text(), server_default="keep", nullable=False),
        sa.CheckConstraint(
            "tracking IN ('none','aggregate','individual')",
            name=op.f("ck_newsletter_tracking"),
        ),
        sa.CheckConstraint("uncertain_policy IN ('keep','resend')", name=op.f("ck_newsletter_uncertain_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_newsletter")),
        sa.UniqueConstraint("slug", name=op.f("uq_newsletter_slug")),
    )
    op.create_table(
        "section",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("bit", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("always_included", sa.Boolean(), nullable=False),
        sa.Column("colour", sa.Text(), nullable=False),
        sa.Column("titles", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("descriptions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("bit BETWEEN 0 AND 61", name=op.f("ck_section_bit")),
        sa.ForeignKeyConstraint(
            ["newsletter_id"],
            ["newsletter.id"],
            name=op.f("fk_section_newsletter_id_newsletter"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_section")),
        sa.UniqueConstraint("newsletter_id", "bit", name=op.f("uq_section_newsletter_id_bit")),
        sa.UniqueConstraint("newsletter_id", "key", name=op.f("uq_section_newsletter_id_key")),
    )


def _create_issues() -> None:
    op.create_table(
        "picture",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture")),
        sa.UniqueConstraint("sha256", name=op.f("uq_picture_sha256")),
    )
    op.create_table(
        "issue",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "draft",
                "review",
                "approved",
                "scheduled",
                "sending",
                "paused",
                "sent",
                "cancelled",
                name="issue_state",
            ),
            nullable=False,
        ),
        sa.Column(
            "missing_translations",
            sa.Enum("fallback", "omit", "block", name="missing_translation_policy"),
            nullable=False,
        ),
        sa.Column(
            "pause_reason",
            sa.Enum("manual", "render_error", "content_rejected", "sender_rejected", name="pause_reason"),
            nullable=True,
        ),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("header_image_id", sa.Integer(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("digest_month", sa.Date(), nullable=True),
        sa.Column("local_time", sa.DateTime(timezone=False), nullable=True),
        sa.Column("max_rate", sa.Float(), nullable=True),
        sa.Column("retried_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["header_image_id"],
            ["picture.id"],
            name=op.f("fk_issue_header_image_id_picture"),
        ),
        sa.ForeignKeyConstraint(
            ["newsletter_id"],
            ["newsletter.id"],
            name=op.f("fk_issue_newsletter_id_newsletter"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issue")),
        sa.UniqueConstraint("newsletter_id", "digest_month", name=op.f("uq_issue_newsletter_id_digest_month")),
        sa.UniqueConstraint("newsletter_id", "number", name=op.f("uq_issue_newsletter_id_number")),
    )
    op.create_table(
        "issue_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "created",
                "imported",
                "header_image",
                "policy",
                "digest",
                "approved",
                "reopened",
                "scheduled",
                "unscheduled",
                "sending",
                "limited",
                "paused",
                "resumed",
                "retried",
                "resolved",
                "cancelled",
                "sent",
                name="issue_event_kind",
            ),
            nullable=False,
        ),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_issue_event_issue_id_issue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issue_event")),
    )
    op.create_index(op.f("ix_issue_event_issue_id"), "issue_event", ["issue_id"], unique=False)
    op.create_table(
        "issue_translation",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("missing", "draft", "ready", name="translation_status"),
            nullable=False,
        ),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("preheader", sa.Text(), nullable=False),
        sa.Column("intro", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_issue_translation_issue_id_issue")),
        sa.PrimaryKeyConstraint("issue_id", "language", name=op.f("pk_issue_translation")),
    )


def _create_stories() -> None:
    op.create_table(
        "story",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("section_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_story_issue_id_issue")),
        sa.ForeignKeyConstraint(["picture_id"], ["picture.id"], name=op.f("fk_story_picture_id_picture")),
        sa.ForeignKeyConstraint(["section_id"], ["section.id"], name=op.f("fk_story_section_id_section")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_story")),
    )
    op.create_table(
        "story_translation",
        sa.Column("story_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("missing", "draft", "ready", name="translation_status"),
            nullable=False,
        ),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("datelines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("alt", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("link_label", sa.Text(), nullable=False),
        sa.Column(
            "search_vector",
            postgresql.TSVECTOR(),
            sa.Computed("search_words(language, headline, body)", persisted=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["story_id"],
            ["story.id"],
            name=op.f("fk_story_translation_story_id_story"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("story_id", "language", name=op.f("pk_story_translation")),
    )
    op.create_index(
        op.f("ix_story_translation_search_vector"),
        "story_translation",
        ["search_vector"],
        postgresql_using="gin",
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("story_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_contact_issue_id_issue")),
        sa.ForeignKeyConstraint(
            ["story_id"],
            ["story.id"],
            name=op.f("fk_contact_story_id_story"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
        sa.UniqueConstraint("story_id", "position", name=op.f("uq_contact_story_id_position")),
    )
    op.create_table(
        "contact_story",
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("story_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f("fk_contact_story_contact_id_contact"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["story_id"],
            ["story.id"],
            name=op.f("fk_contact_story_story_id_story"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("contact_id", "story_id", name=op.f("pk_contact_story")),
    )
    op.create_table(
        "contact_translation",
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contact.id"],
            name=op.f("fk_contact_translation_contact_id_contact"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("contact_id", "language", name=op.f("pk_contact_translation")),
    )


def _create_subscribers() -> None:
    op.create_table(
        "subscriber",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("text_only", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("address_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_subscriber_address_hash")),
    )
    op.create_table(
        "subscriber_alias",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_subscriber_alias_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriber_alias")),
    )
    op.create_index(op.f("ix_subscriber_alias_subscriber_id"), "subscriber_alias", ["subscriber_id"])
    op.create_table(
        "subscription",
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("pending", "active", "unsubscribed", name="subscription_state"),
            nullable=False,
        ),
        sa.Column("sections", sa.BigInteger(), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("frequency", sa.Enum("each", "monthly", name="frequency"), server_default="each", nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tracking", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("previous_preferences", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("previous_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("consent_source", sa.Text(), nullable=True),
        sa.Column("consent_language", sa.Text(), nullable=True),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("newsletter_id", "subscriber_id", name=op.f("pk_subscription")),
    )
    # Of its foreign keys, which take more than half the time of a large import, the half that costs nothing when
    # subscriptions are made.
    op.execute("""
        CREATE FUNCTION delete_subscriptions() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM subscription WHERE subscriber_id = OLD.id;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER delete_subscriptions AFTER DELETE ON subscriber
        FOR EACH ROW EXECUTE FUNCTION delete_subscriptions()
    """)
    op.create_table(
        "consent",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Enum("subscribe", "tracking", name="consent_kind"), nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False),
        sa.Column("channel", _CONSENT_CHANNEL, nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("wording", sa.Text(), server_default="", nullable=False),
        sa.Column("language", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["newsletter_id"],
            ["newsletter.id"],
            name=op.f("fk_consent_newsletter_id_newsletter"),
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_consent_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_subscriber_id"), "consent", ["subscriber_id"], unique=False)
    op.create_table(
        "suppression",
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum("hard_bounce", "complaint", "manual", "erased", "address_changed", name="suppression_reason"),
            nullable=False,
        ),
        sa.Column("source", sa.Enum("system", "subscriber", "staff", name="suppression_source"), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("address_hash", name=op.f("pk_suppression")),
    )


def _create_requests() -> None:
    op.create_table(
        "signup",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("sections", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.Column("channel", _CONSENT_CHANNEL, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["newsletter_id"], ["newsletter.id"], name=op.f("fk_signup_newsletter_id_newsletter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signup")),
    )
    op.create_index(op.f("ix_signup_address_hash"), "signup", ["address_hash"], unique=False)
    op.create_table(
        "address_change",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_hash", sa.LargeBinary(), nullable=False),
        sa.Column("old_confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("new_confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_address_change_newsletter_id_newsletter")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_address_change_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_address_change")),
    )
    op.create_index(op.f("ix_address_change_subscriber_id"), "address_change", ["subscriber_id"], unique=False)
    op.create_table(
        "transactional_email",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "confirm",
                "welcome",
                "magic_link",
                "preferences_changed",
                "address_old",
                "address_new",
                name="transactional_email_kind",
            ),
            nullable=False,
        ),
        sa.Column("newsletter_id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("signup_id", sa.BigInteger(), nullable=True),
        sa.Column("change_id", sa.BigInteger(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_reply", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(subscriber_id, signup_id, change_id) > 0",
            name=op.f("ck_transactional_email_recipient"),
        ),
        sa.ForeignKeyConstraint(
            ["change_id"],
            ["address_change.id"],
            name=op.f("fk_transactional_email_change_id_address_change"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_transactional_email_newsletter_id_newsletter")
        ),
        sa.ForeignKeyConstraint(
            ["signup_id"],
            ["signup.id"],
            name=op.f("fk_transactional_email_signup_id_signup"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_transactional_email_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactional_email")),
    )
    op.create_index(
        "ix_transactional_email_due",
        "transactional_email",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_index(
        op.f("ix_transactional_email_subscriber_id"), "transactional_email", ["subscriber_id"], unique=False
    )
    op.create_index(op.f("ix_transactional_email_signup_id"), "transactional_email", ["signup_id"], unique=False)
    op.create_index(op.f("ix_transactional_email_change_id"), "transactional_email", ["change_id"], unique=False)


def _create_editions_and_batches() -> None:
    op.create_table(
        "edition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("sections", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("story_count", sa.Integer(), nullable=False),
        sa.Column("fallback_count", sa.Integer(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("slots", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_edition_issue_id_issue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edition")),
        sa.UniqueConstraint(
            "issue_id",
            "language",
            "sections",
            name=op.f("uq_edition_issue_id_language_sections"),
        ),
    )
    op.create_table(
        "language_choice",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("sections", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_language_choice_issue_id_issue")),
        sa.PrimaryKeyConstraint("issue_id", "languages", name=op.f("pk_language_choice")),
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("first_subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("last_subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum("planned", "ready", "sending", "done", name="batch_state"),
            nullable=False,
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("enqueued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_retry", sa.Boolean(), nullable=False),
        sa.Column("candidates", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("uncertain", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_batch_issue_id_issue")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    op.create_index("ix_batch_issue_id", "batch", ["issue_id", "first_subscriber_id"], unique=False)
    op.create_index(
        "ix_batch_unfinished",
        "batch",
        ["state", "due_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'done'"),
    )


def _create_deliveries() -> None:
    # Each issue has a partition of its own, made when its audience is frozen: see mailer.store.audience.
    op.create_table(
        "delivery",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("edition_id", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "sending",
                "sent",
                "failed",
                "skipped",
                "uncertain",
                name="delivery_state",
            ),
            nullable=False,
        ),
        sa.Column(
            "skip_reason",
            sa.Enum(
                "unsubscribed",
                "unconfirmed",
                "suppressed",
                "paused",
                "digest_only",
                "no_language",
                "nothing_in_sections",
                "cancelled",
                name="skip_reason",
            ),
            nullable=True,
        ),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("last_reply", sa.Text(), nullable=True),
        sa.Column("relay", sa.Text(), nullable=True),
        sa.Column("resends", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "resolution",
            sa.Enum("sent", "failed", "resend", "retry", name="delivery_resolution"),
            nullable=True,
        ),
        sa.Column(
            "resolution_source",
            sa.Enum("staff", "link", "returned_mail", "bounce", "policy", name="resolution_source"),
            nullable=True,
        ),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolution_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("issue_id", "subscriber_id", name=op.f("pk_delivery")),
        postgresql_partition_by="LIST (issue_id)",
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("bounce", "delay", "unsubscribe", "confirm", "address_change", name="feedback_kind"),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("newsletter_id", sa.Integer(), nullable=True),
        sa.Column("issue_id", sa.Integer(), nullable=True),
        sa.Column("subscriber_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["issue_id"], ["issue.id"], name=op.f("fk_feedback_issue_id_issue")),
        sa.ForeignKeyConstraint(
            ["newsletter_id"],
            ["newsletter.id"],
            name=op.f("fk_feedback_newsletter_id_newsletter"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_index(op.f("ix_feedback_subscriber_id"), "feedback", ["subscriber_id"], unique=False)


def _create_throttles() -> None:
    op.create_table(
        "throttle",
        sa.Column("scope", sa.Enum("relay", "provider", name="throttle_scope"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("target_rate", sa.Float(), nullable=True),
        sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trips", sa.Integer(), nullable=False),
        sa.Column("probe_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("manual", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", name=op.f("pk_throttle")),
    )
    op.create_table(
        "relay_daily_usage",
        sa.Column("relay", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("relay", "day", name=op.f("pk_relay_daily_usage")),
    )
    op.create_table(
        "mail_domain",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("mx_host", sa.Text(), nullable=False),
        sa.Column("looked_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_mail_domain")),
    )


def _create_bookkeeping() -> None:
    op.create_table(
        "rate_limit_window",
        sa.Column("subject_hash", sa.LargeBinary(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject_hash", "window_start", name=op.f("pk_rate_limit_window")),
    )
    op.create_index(op.f("ix_rate_limit_window_window_start"), "rate_limit_window", ["window_start"], unique=False)
    op.create_table(
        "retention_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_run")),
    )


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.execute("DROP FUNCTION delete_subscriptions, search_words, search_folded, search_config")
    op.execute(f"DROP TYPE {', '.join(_ENUM_TYPES)}")
