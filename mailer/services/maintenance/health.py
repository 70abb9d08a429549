"""Health: whether the service could do its work at this moment."""

from sqlalchemy.exc import SQLAlchemyError

from mailer.store.database import Database, DatabaseDown

__all__ = ["DatabaseDown", "database_answers"]


def database_answers(database: Database) -> bool:
    try:
        with database.transaction() as session:
            session.connection()  # tries it: engine with pool_pre_ping
    except (DatabaseDown, SQLAlchemyError):
        return False
    return True
