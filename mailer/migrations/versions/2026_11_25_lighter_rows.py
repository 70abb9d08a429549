"""lighter rows of readers"""

import sqlalchemy as sa
from alembic import op

revision = "f08c5b7e2a16"
down_revision = "e3a7b20c9d41"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A lock that is not had at once must not queue everybody else behind it.
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.add_column("subscription", sa.Column("consent_source", sa.Text(), nullable=True))
    op.add_column("subscription", sa.Column("consent_language", sa.Text(), nullable=True))
    op.add_column("subscription", sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True))
    # Half of the foreign key stays, as a trigger: the half that costs nothing when subscriptions are made. So
    # the version before, which erases a reader and leaves the rest to the key, can still be at work.
    op.execute("""
        CREATE FUNCTION subscriber_leaves() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM subscription WHERE subscriber_id = OLD.id;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER subscriber_leaves AFTER DELETE ON subscriber
        FOR EACH ROW EXECUTE FUNCTION subscriber_leaves()
    """)
    op.drop_constraint(op.f("fk_subscription_subscriber_id_subscriber"), "subscription", type_="foreignkey")
    op.drop_constraint(op.f("fk_subscription_newsletter_id_newsletter"), "subscription", type_="foreignkey")
    op.drop_index(op.f("ix_subscription_subscriber_id"), "subscription")


def downgrade() -> None:
    op.create_index(op.f("ix_subscription_subscriber_id"), "subscription", ["subscriber_id"])
    op.create_foreign_key(
        op.f("fk_subscription_newsletter_id_newsletter"),
        "subscription",
        "newsletter",
        ["newsletter_id"],
        ["id"],
    )
    op.create_foreign_key(
        op.f("fk_subscription_subscriber_id_subscriber"),
        "subscription",
        "subscriber",
        ["subscriber_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.execute("DROP TRIGGER subscriber_leaves ON subscriber")
    op.execute("DROP FUNCTION subscriber_leaves")
    op.execute("""
        INSERT INTO consent (subscriber_id, newsletter_id, kind, given, source, language, at)
        SELECT subscriber_id, newsletter_id, 'subscribe', true, consent_source, consent_language, consent_at
        FROM subscription WHERE consent_at IS NOT NULL
    """)
    op.drop_column("subscription", "consent_at")
    op.drop_column("subscription", "consent_language")
    op.drop_column("subscription", "consent_source")
