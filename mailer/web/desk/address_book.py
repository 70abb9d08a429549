"""The address book of a newsletter: its contacts, and where they are used."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.errors import UserError
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters import address_book
from mailer.services.newsletters.address_book import Card, CardNotFound, CardOutdated
from mailer.services.newsletters.catalogue import NewsletterSummary
from mailer.web.dependencies import App, Now, RowId
from mailer.web.desk.contacts import contact_note_tree, read_contact_note
from mailer.web.desk.issue import Writer, read_revision
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm

ADDRESS_BOOK = "/desk/newsletters/{newsletter}/address-book"
router = APIRouter(prefix=ADDRESS_BOOK, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class BookVisit:
    """A request for a page of an address book."""

    app: Container
    page: Page
    now: datetime
    newsletter: NewsletterSummary

    def texts(self, form: FormData) -> dict[str, str]:
        """Return the notes in a form by language."""
        return {tag: read_contact_note(form, f"text.{tag}") for tag in self.newsletter.languages}

    def load(self, card: int) -> Card:
        """Return a contact. Raises HTTPException 404."""
        try:
            return address_book.load_card(self.app.database, self.newsletter.id, card)
        except CardNotFound:
            raise HTTPException(404) from None

    def carry_out(self, order: Callable[[], object], refused: Callable[[UserError], Response], done: str) -> Response:
        """Carry out an order and go to the list. Answer with ``refused`` if it is refused."""
        try:
            order()
        except CardNotFound:
            raise HTTPException(404) from None
        except UserError as error:
            return refused(error)
        return self.page.redirect(self.page.urls.path(ADDRESS_BOOK, newsletter=self.newsletter.slug), done)


def _visit(app: App, page: PageOf, now: Now, newsletter: NewsletterOf) -> BookVisit:
    return BookVisit(app, page, now, newsletter)


BookVisitOf = Annotated[BookVisit, Depends(_visit)]
"""A handler takes it after what it ``Requires``."""


@router.get("")
def address_book_page(staff: Writer, visit: BookVisitOf, done: str = "") -> Response:
    return _list(visit, staff, done=done)


@router.get("/new")
def new_card_page(staff: Writer, visit: BookVisitOf) -> Response:
    return _card(visit, staff, None)


@router.post("/new")
def add_card(staff: Writer, visit: BookVisitOf, form: StaffForm) -> Response:
    def order() -> None:
        address_book.add_card(
            visit.app.database, visit.newsletter.id, str(form.get("name", "")), visit.texts(form), staff, visit.now
        )

    return visit.carry_out(order, lambda error: _card(visit, staff, None, form=form, error=error), "added")


@router.get("/{card}")
def card_page(staff: Writer, visit: BookVisitOf, card: RowId) -> Response:
    return _card(visit, staff, visit.load(card))


@router.post("/{card}")
def change_card(staff: Writer, visit: BookVisitOf, card: RowId, form: StaffForm) -> Response:
    revision, name, texts = read_revision(form), str(form.get("name", "")), visit.texts(form)

    def order() -> None:
        address_book.change_card(visit.app.database, visit.newsletter.id, card, revision, name, texts, staff, visit.now)

    return visit.carry_out(order, lambda error: _card(visit, staff, visit.load(card), form=form, error=error), "saved")


@router.post("/{card}/remove")
def remove_card(staff: Writer, visit: BookVisitOf, card: RowId, _: StaffForm) -> Response:
    def order() -> None:
        address_book.remove_card(visit.app.database, visit.newsletter.id, card, staff, visit.now)

    return visit.carry_out(order, lambda error: _list(visit, staff, error=error), "removed")


@router.post("/{card}/restore")
def restore_card(staff: Writer, visit: BookVisitOf, card: RowId, _: StaffForm) -> Response:
    def order() -> None:
        address_book.restore_card(visit.app.database, visit.newsletter.id, card, staff, visit.now)

    return visit.carry_out(order, lambda error: _list(visit, staff, error=error), "restored")


def _list(visit: BookVisit, staff: Staff, *, done: str = "", error: UserError | None = None) -> Response:
    database, newsletter = visit.app.database, visit.newsletter
    return visit.page(
        "desk/address_book",
        staff,
        409 if error else 200,
        newsletter=newsletter,
        cards=address_book.list_cards(database, newsletter.id),
        removed=address_book.list_removed(database, newsletter.id),
        done=done,
        error=message_of(error) if error else "",
    )


def _card(
    visit: BookVisit,
    staff: Staff,
    card: Card | None,
    *,
    form: FormData | None = None,
    error: UserError | None = None,
) -> Response:
    """Show the page of a contact, or of a new one. After somebody else's change the form can be saved over it."""
    return visit.page(
        "desk/contact_card",
        staff,
        409 if error else 200,
        newsletter=visit.newsletter,
        card=card,
        name=str(form.get("name", "")) if form else card.name if card else "",
        texts=visit.texts(form) if form else card.texts if card else {},
        contact_note_tree=contact_note_tree,
        outdated=isinstance(error, CardOutdated),
        error=message_of(error) if error else "",
    )
