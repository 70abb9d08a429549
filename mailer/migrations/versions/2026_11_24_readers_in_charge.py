"""readers in charge"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2601872c2950"
down_revision = "6840fcac91cc"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for reason in ("paused", "monthly"):
        op.execute(f"ALTER TYPE skip_reason ADD VALUE IF NOT EXISTS '{reason}' BEFORE 'no_language'")
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.create_table(
        "attempt",
        sa.Column("who", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("who", "since", name=op.f("pk_attempt")),
    )
    op.create_index(op.f("ix_attempt_since"), "attempt", ["since"], unique=False)
    op.create_table(
        "sweep",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
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
    op.create_index(
        op.f("ix_address_change_subscriber_id"), "address_change", ["subscriber_id"], unique=False
    )
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
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_signup_newsletter_id_newsletter")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signup")),
    )
    op.create_index(op.f("ix_signup_address_hash"), "signup", ["address_hash"], unique=False)
    op.create_table(
        "note",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
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
        sa.Column("reply", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(subscriber_id, signup_id, change_id) > 0", name=op.f("ck_note_somebody")
        ),
        sa.ForeignKeyConstraint(
            ["change_id"],
            ["address_change.id"],
            name=op.f("fk_note_change_id_address_change"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["newsletter_id"], ["newsletter.id"], name=op.f("fk_note_newsletter_id_newsletter")
        ),
        sa.ForeignKeyConstraint(
            ["signup_id"], ["signup.id"], name=op.f("fk_note_signup_id_signup"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
            name=op.f("fk_note_subscriber_id_subscriber"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_note")),
    )
    op.create_index(
        "ix_note_open",
        "note",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
    )
    op.create_index(op.f("ix_note_subscriber_id"), "note", ["subscriber_id"], unique=False)
    op.create_index(op.f("ix_note_signup_id"), "note", ["signup_id"], unique=False)
    op.create_index(op.f("ix_note_change_id"), "note", ["change_id"], unique=False)
    op.add_column("consent", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("issue", sa.Column("digest_month", sa.Date(), nullable=True))
    op.create_unique_constraint(
        op.f("uq_issue_newsletter_id_digest_month"), "issue", ["newsletter_id", "digest_month"]
    )
    op.add_column("newsletter", sa.Column("public", sa.Boolean(), server_default="true", nullable=False))
    op.add_column(
        "newsletter",
        sa.Column(
            "phrases", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.add_column("subscriber", sa.Column("text_only", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("subscriber", sa.Column("keys_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column("subscription", sa.Column("frequency", sa.Text(), server_default="each", nullable=False))
    op.create_check_constraint(
        op.f("ck_subscription_frequency"), "subscription", "frequency IN ('each','monthly')"
    )
    op.add_column("subscription", sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("subscription", sa.Column("tracking", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("subscription", sa.Column("former", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("subscription", sa.Column("former_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # PostgreSQL cannot take values out of an enum: the two reasons stay.
    op.drop_column("subscription", "former_at")
    op.drop_column("subscription", "former")
    op.drop_column("subscription", "tracking")
    op.drop_column("subscription", "paused_until")
    op.drop_constraint(op.f("ck_subscription_frequency"), "subscription", type_="check")
    op.drop_column("subscription", "frequency")
    op.drop_column("subscriber", "keys_from")
    op.drop_column("subscriber", "text_only")
    op.drop_column("newsletter", "phrases")
    op.drop_column("newsletter", "public")
    op.drop_constraint(op.f("uq_issue_newsletter_id_digest_month"), "issue", type_="unique")
    op.drop_column("issue", "digest_month")
    op.drop_column("consent", "asked_at")
    op.drop_index(op.f("ix_note_change_id"), table_name="note")
    op.drop_index(op.f("ix_note_signup_id"), table_name="note")
    op.drop_index(op.f("ix_note_subscriber_id"), table_name="note")
    op.drop_index(
        "ix_note_open", table_name="note", postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL")
    )
    op.drop_table("note")
    op.drop_index(op.f("ix_signup_address_hash"), table_name="signup")
    op.drop_table("signup")
    op.drop_index(op.f("ix_address_change_subscriber_id"), table_name="address_change")
    op.drop_table("address_change")
    op.drop_table("sweep")
    op.drop_index(op.f("ix_attempt_since"), table_name="attempt")
    op.drop_table("attempt")
