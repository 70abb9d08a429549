"""The contact notes of a story, in one language: written or taken from the address book, put in order and removed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from starlette.datastructures import FormData

from mailer.domain.contact_notes import read_contact_note_tree
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES
from mailer.domain.text_tree import Tree, contact_note_to_tree
from mailer.services.accounts.staff import Staff
from mailer.services.issues import contacts, edit
from mailer.services.issues.contacts import ContactNotFound
from mailer.services.issues.write_text import SaveOutcome
from mailer.services.newsletters import address_book
from mailer.web.dependencies import RowId
from mailer.web.desk.issue import ISSUE, Translator, Viewer, Visit, VisitOf, Writer, read_step
from mailer.web.forms import whole_number
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

CONTACTS = f"{ISSUE}/stories/{{story}}/{{language}}/contacts"
router = APIRouter(prefix=CONTACTS, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ContactsVisit:
    """A request about the contact notes of a story."""

    visit: Visit
    story: int
    language: str

    def carry_out(self, staff: Staff, order: Callable[[], object], done: str) -> Response:
        """Carry out an order and show the page again, with the reason if it is refused."""
        try:
            order()
        except ContactNotFound:
            raise HTTPException(404) from None
        except UserError as error:
            return _page(self, staff, error=message_of(error), status=409)
        return self.redirect(done)

    def redirect(self, done: str) -> Response:
        path = self.visit.page.urls.path
        return self.visit.page.redirect(
            path(CONTACTS, issue=self.visit.issue, story=self.story, language=self.language), done
        )


def _contacts_visit(visit: VisitOf, story: RowId, language: str) -> ContactsVisit:
    """Return a request in a language of the issue. Raises HTTPException 404 for another."""
    if language not in visit.head().languages:
        raise HTTPException(404)
    return ContactsVisit(visit, story, language)


ContactsVisitOf = Annotated[ContactsVisit, Depends(_contacts_visit)]
"""A handler takes it after what it ``Requires``."""


@router.get("")
def contacts_page(staff: Viewer, of_story: ContactsVisitOf, done: str = "") -> Response:
    return _page(of_story, staff, done=done)


@router.post("")
def add_contact(staff: Writer, of_story: ContactsVisitOf, form: StaffForm) -> Response:
    """Add a note, written or from the address book."""
    visit, text, card = of_story.visit, read_contact_note(form, "text"), whole_number(str(form.get("card", "")))
    try:
        contacts.add_contact(
            visit.app.database, visit.issue, of_story.story, of_story.language, staff, text=text, card=card
        )
    except ContactNotFound:
        raise HTTPException(404) from None
    except UserError as error:
        return _page(of_story, staff, new_text=text, error=message_of(error), status=409)
    return of_story.redirect("added")


@router.post("/{contact}")
def save_contact(staff: Translator, of_story: ContactsVisitOf, contact: RowId, form: StaffForm) -> Response:
    """Save the text of a note. What is not saved is shown again, and set aside."""
    visit, text = of_story.visit, read_contact_note(form, "text")
    if not _may_write(of_story, staff):
        raise HTTPException(403)
    try:
        outcome = contacts.save_contact(
            visit.app.database, visit.issue, contact, of_story.language, str(form.get("base", ""))[:40], text, staff
        )
    except ContactNotFound:
        raise HTTPException(404) from None
    except UserError as error:
        return _page(of_story, staff, typed=(contact, text), error=message_of(error), status=409)
    if outcome is SaveOutcome.saved:
        return of_story.redirect("saved")
    return _page(of_story, staff, typed=(contact, text), outcome=outcome, status=409)


@router.post("/{contact}/covers")
def set_covered(staff: Writer, of_story: ContactsVisitOf, contact: RowId, form: StaffForm) -> Response:
    chosen = (whole_number(str(value)) for value in form.getlist("story"))
    stories = [story for story in chosen if story is not None]
    visit = of_story.visit

    def order() -> None:
        contacts.set_covered(visit.app.database, visit.issue, contact, stories, staff)

    return of_story.carry_out(staff, order, "covers")


@router.post("/{contact}/move")
def move_contact(staff: Writer, of_story: ContactsVisitOf, contact: RowId, form: StaffForm) -> Response:
    """Move a note up or down among those after the same story."""
    visit, step = of_story.visit, read_step(form)

    def order() -> None:
        contacts.move_contact(visit.app.database, visit.issue, contact, step, staff)

    return of_story.carry_out(staff, order, "moved")


@router.post("/{contact}/remove")
def remove_contact(staff: Writer, of_story: ContactsVisitOf, contact: RowId, _: StaffForm) -> Response:
    visit = of_story.visit

    def order() -> None:
        contacts.remove_contact(visit.app.database, visit.issue, contact, staff, visit.now)

    return of_story.carry_out(staff, order, "removed")


@router.post("/{contact}/restore")
def restore_contact(staff: Writer, of_story: ContactsVisitOf, contact: RowId, _: StaffForm) -> Response:
    visit = of_story.visit

    def order() -> None:
        contacts.restore_contact(visit.app.database, visit.issue, contact, staff)

    return of_story.carry_out(staff, order, "restored")


def read_contact_note(form: FormData, name: str) -> str:
    """Return a note in a form as Markdown: written so, or the tree of an editor. Raises HTTPException 400."""
    if not (tree := str(form.get(f"{name}.tree", ""))):
        return str(form.get(name, ""))
    try:
        return read_contact_note_tree(json.loads(tree))
    except (ValueError, RecursionError):
        raise HTTPException(400) from None


def contact_note_tree(text: str) -> Tree | None:
    """Return a note as a tree for an editor; None if it has something that the editor cannot hold."""
    try:
        return contact_note_to_tree(text)
    except ValueError:
        return None


def _may_write(of_story: ContactsVisit, staff: Staff) -> bool:
    """Return whether somebody may change the notes in this language."""
    visit = of_story.visit
    source = contacts.source_language(visit.app.database, visit.issue)
    return staff.may_write(visit.head().newsletter, of_story.language, source)


def _page(
    of_story: ContactsVisit,
    staff: Staff,
    *,
    done: str = "",
    error: str = "",
    typed: tuple[int, str] | None = None,
    outcome: SaveOutcome | None = None,
    new_text: str = "",
    status: int = 200,
) -> Response:
    """Show the notes. ``typed``: a note and what was written into it that is not saved."""
    visit, database = of_story.visit, of_story.visit.app.database
    head = visit.head()
    headlines = {item.story: item.headline for item in edit.list_stories(database, visit.issue)}
    if of_story.story not in headlines:
        raise visit.not_here(of_story.story)
    listed = contacts.list_contacts(database, visit.issue, of_story.story, of_story.language)
    in_section = contacts.may_be_covered(database, visit.issue, of_story.story)
    may_arrange = staff.may(Permission.write, head.newsletter)
    editable = head.state in EDITABLE_STATES
    return visit.page(
        "desk/contacts",
        staff,
        status,
        head=head,
        story=of_story.story,
        headline=headlines[of_story.story],
        headlines=headlines,
        text_language=of_story.language,
        source_language=contacts.source_language(database, visit.issue),
        contacts=[(note, [id for id in headlines if id in {*in_section, *note.covered}]) for note in listed],
        complete={tag for tag in head.languages if listed and all(tag in note.texts for note in listed)},
        removed=contacts.list_removed(database, visit.issue, of_story.story),
        cards=address_book.list_cards(database, head.newsletter) if editable and may_arrange else [],
        may_write=editable and _may_write(of_story, staff),
        may_arrange=editable and may_arrange,
        editable=editable,
        typed=dict([typed] if typed else []),
        contact_note_tree=contact_note_tree,
        outcome=outcome,
        new_text=new_text,
        done=done,
        error=error,
    )
