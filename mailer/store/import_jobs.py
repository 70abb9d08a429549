"""Uploaded lists of subscribers: kept in pieces, and worked on by one worker at a time."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from mailer.domain.states import ImportState
from mailer.models import ImportJob, ImportJobPart

WORKING = (ImportState.reading, ImportState.importing)
"""The states in which a worker is at a list, or will be."""


def find(session: Session, newsletter: int, job: int) -> ImportJob | None:
    return session.scalar(select(ImportJob).where(ImportJob.id == job, ImportJob.newsletter_id == newsletter))


def lock(session: Session, job: int) -> ImportJob | None:
    """Return a job, locked until the transaction ends."""
    return session.get(ImportJob, job, with_for_update=True, populate_existing=True)


def latest(session: Session, newsletter: int, limit: int) -> list[ImportJob]:
    """Return the newest jobs of a newsletter."""
    query = select(ImportJob).where(ImportJob.newsletter_id == newsletter)
    return list(session.scalars(query.order_by(ImportJob.id.desc()).limit(limit)))


def is_busy(session: Session, now: datetime) -> bool:
    """Return whether a worker is at a job. Blocks other workers that ask until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("import_job"))))
    busy = select(ImportJob.id).where(ImportJob.state.in_(WORKING), ImportJob.leased_until > now)
    return session.scalar(busy.limit(1)) is not None


def claim(session: Session, now: datetime, lease: timedelta) -> ImportJob | None:
    """Return the next job that waits for a worker, leased, after ``is_busy``.

    Imports take turns, so that they leave the database to the sending.
    """
    job = session.scalar(select(ImportJob).where(ImportJob.state.in_(WORKING)).order_by(ImportJob.id).limit(1))
    if job:
        job.leased_until, job.attempts = now + lease, job.attempts + 1
    return job


def add_part(session: Session, job: int, number: int, data: bytes, *, rejects: bool = False) -> None:
    session.execute(insert(ImportJobPart).values(job_id=job, is_rejects=rejects, number=number, data=data))


def part(session: Session, job: int, number: int, *, rejects: bool) -> bytes:
    """Return a piece of a list, or of its rejected lines; empty behind the last one."""
    return (
        session.scalar(
            select(ImportJobPart.data).where(
                ImportJobPart.job_id == job, ImportJobPart.is_rejects == rejects, ImportJobPart.number == number
            )
        )
        or b""
    )


def delete_parts(session: Session, job: int, *, rejects: bool) -> None:
    session.execute(delete(ImportJobPart).where(ImportJobPart.job_id == job, ImportJobPart.is_rejects == rejects))


def delete_before(session: Session, at: datetime) -> None:
    session.execute(delete(ImportJob).where(ImportJob.at < at))


def delete_unconfirmed(session: Session, newsletter: int, account: int) -> None:
    """Delete an account's lists of which no line was imported."""
    unconfirmed = (ImportState.reading, ImportState.ready, ImportState.refused)
    session.execute(
        delete(ImportJob).where(
            ImportJob.newsletter_id == newsletter,
            ImportJob.account_id == account,
            ImportJob.state.in_(unconfirmed),
        )
    )
