"""The pictures of an issue: storage of prepared pictures, and the header image."""

from mailer.domain.accounts import Actor
from mailer.domain.ports import PreparedPicture
from mailer.domain.states import IssueEventKind, check_editable
from mailer.models import Picture
from mailer.store import approvals, issues
from mailer.store.database import Database, Session


def store_picture(session: Session, picture: PreparedPicture) -> int:
    """Store a picture and its thumbnail unless their bytes are stored already. Return its id."""
    thumbnail_id = store_picture(session, picture.thumbnail) if picture.thumbnail else None
    row = issues.picture_by_hash(session, picture.sha256)
    if row is None:
        row = Picture(
            sha256=picture.sha256,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            data=picture.data,
            thumbnail_id=thumbnail_id,
        )
        session.add(row)
        session.flush()
    elif row.thumbnail_id is None:
        row.thumbnail_id = thumbnail_id
    return row.id


def set_header_image(database: Database, issue: int, picture: PreparedPicture | None, actor: Actor) -> None:
    """Set the header image of an issue; None removes it. Raises IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        check_editable(issue, row.state, "its header image can no longer be changed")
        id = store_picture(session, picture) if picture else None
        if row.header_image_id != id:
            row.header_image_id = id
            approvals.content_changed(session, issue, actor)
            issues.log(session, issue, actor, IssueEventKind.header_image)
