"""Sections of a newsletter: added, described, put in order, retired and offered again."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from starlette.datastructures import FormData

from mailer.domain.errors import ChangeRefused
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters import settings as service
from mailer.services.newsletters.sections import list_sections
from mailer.services.newsletters.settings import Values
from mailer.web.desk.newsletter import SETTINGS, Editor, SettingsVisit, SettingsVisitOf, by_language, part_of
from mailer.web.staff_forms import StaffForm

SECTIONS = f"{SETTINGS}/sections"
router = APIRouter(prefix=SECTIONS, include_in_schema=False)


@router.get("")
def sections_page(staff: Editor, visit: SettingsVisitOf, done: str = "") -> Response:
    return _show_list(visit, staff, done=done)


@router.post("")
def change_list(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    """Add a section, move one up or down, or offer a retired one again."""
    action, key = str(form.get("action", "")), str(form.get("key", "")).strip()

    def edit(values: Values) -> None:
        sections = values["sections"]
        keys = [section["key"] for section in sections]
        if action == "add":
            sections.append({"key": key, "titles": by_language(form, "titles")})
        elif action == "offer":
            retired = {section.key: section for section in service.retired_sections(visit.app.database, slug)}
            sections += [retired[key].model_dump(mode="json")] if key in retired else []
        elif key in keys and action in ("up", "down"):
            at = keys.index(key)
            sections.insert(max(0, at - 1) if action == "up" else at + 1, sections.pop(at))

    def refused(refusal: Exception) -> Response:
        return _show_list(visit, staff, refusal=refusal, form=form if action == "add" else None)

    slug = visit.newsletter.slug
    return visit.save(staff, form, edit, part_of("sections"), refused=refused, then="/sections")


def _show_list(visit: SettingsVisit, staff: Staff, **more: Any) -> Response:
    return visit.show(
        "newsletter_sections",
        staff,
        part_of("sections"),
        sections=list_sections(visit.app.database, visit.newsletter.slug),
        **more,
    )


@router.get("/{section}")
def section_page(staff: Editor, visit: SettingsVisitOf, section: str, done: str = "") -> Response:
    return _show_section(visit, staff, section, done=done)


@router.post("/{section}")
def save_section(staff: Editor, visit: SettingsVisitOf, section: str, form: StaffForm) -> Response:
    """Change a section, or retire it."""
    retires = form.get("action") == "retire"

    def edit(values: Values) -> None:
        sections = values["sections"]
        found = next((index for index, one in enumerate(sections) if one["key"] == section), None)
        if found is None:
            raise ChangeRefused("retired")
        if retires:
            del sections[found]
            return
        sections[found] |= {
            "titles": by_language(form, "titles"),
            "descriptions": by_language(form, "descriptions"),
            "colour": str(form.get("colour", "")).strip(),
            "always_included": form.get("always_included") == "True",
        }

    def refused(refusal: Exception) -> Response:
        return _show_section(visit, staff, section, refusal=refusal, form=None if retires else form)

    then = "/sections" if retires else f"/sections/{section}"
    return visit.save(staff, form, edit, _part_of_section(section), refused=refused, then=then)


def _part_of_section(key: str) -> Callable[[Values], object]:
    return lambda values: [one for one in values["sections"] if one["key"] == key]


def _show_section(
    visit: SettingsVisit, staff: Staff, section: str, *, form: FormData | None = None, **more: Any
) -> Response:
    """Show a section that is offered, and one retired in the meantime with what was filled in.

    Raises HTTPException 404 for another.
    """
    database, slug = visit.app.database, visit.newsletter.slug
    sections = visit.load().sections
    known = sections + ([] if form is None else service.retired_sections(database, slug))
    at = next((index for index, one in enumerate(known) if one.key == section), None)
    if at is None:
        raise HTTPException(404)
    followers = {item.key: item.followers for item in list_sections(database, slug)}
    return visit.show(
        "newsletter_section",
        staff,
        _part_of_section(section),
        section=known[at],
        at=at,
        is_retired=at >= len(sections),
        followers=followers.get(section, 0),
        form=form,
        **more,
    )
