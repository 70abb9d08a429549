"""Health checks of the service."""

from sqlalchemy.exc import SQLAlchemyError

from mailer.store.database import Database, DatabaseDown

__all__ = ["DatabaseDown", "database_answers"]


def database_answers(database: Database) -> bool:
    """Return whether the database accepts connections."""
    try:
        with database.transaction() as session:
            session.connection()  # the engine has pool_pre_ping
    except (DatabaseDown, SQLAlchemyError):
        return False
    return True
