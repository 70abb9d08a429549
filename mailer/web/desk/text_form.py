"""The form of a text: what was typed into it, and what its page and its script show of a stored one.

The pages on which staff write and the page behind the link of a request have it in common.
"""

import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from fastapi import HTTPException, Response
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.urls import Urls
from mailer.domain.content import Dateline, DateRange
from mailer.domain.document.datelines import MAX_DATELINE_CHARS, read_datelines
from mailer.domain.markdown import find_problems
from mailer.domain.states import TextSubject
from mailer.domain.text_fields import PLAIN, RICH, typed_fields
from mailer.domain.text_tree import InvalidTree, plain_line
from mailer.domain.versions import TextKey
from mailer.services.accounts.staff import Staff
from mailer.services.issues.write_text import TextState
from mailer.web.staff import Page

TAB = re.compile(r"[A-Za-z0-9-]{0,40}")
BASE = re.compile(r"(?:[0-9]{1,18}\.[0-9]{1,9})?")


def match(pattern: re.Pattern[str], value: object) -> str:
    """Return a value that has the form of what our own pages send, else an empty string."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def typed_in(form: FormData, key: TextKey, left_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a form that was sent without script, as ``read_fields`` takes them."""
    is_story = key.subject is TextSubject.story
    names = (*RICH[key.subject], *PLAIN[key.subject], *(("headline", "link", "link_label") if is_story else ()))
    fields: dict[str, Any] = {name: form.get(name, "") for name in names if name not in left_out}
    if is_story:
        fields["datelines"] = [{"text": line} for line in _typed_datelines(form, key.language)]
    return fields


def _typed_datelines(form: FormData, language: str) -> list[str]:
    """Return the lines in a form; one without text is composed of its dates and place."""
    names = ("dateline", "dateline_start", "dateline_end", "dateline_place")
    rows = zip(*(map(str, form.getlist(name)) for name in names), strict=False)
    return [line or _composed_dateline(start, end, place, language) or "" for line, start, end, place in rows]


def _composed_dateline(start: str, end: str, place: str, language: str) -> str | None:
    """Return a dateline of typed dates and a place; None without a date."""
    try:
        first = date.fromisoformat(start[:10])
        last = date.fromisoformat(end[:10]) if end else first
    except ValueError:
        return None
    place = " ".join(place[: MAX_DATELINE_CHARS // 2].split())
    return cldr.compose_dateline(DateRange(first, max(first, last)), place, language)


def compose_for_script(page: Page, start: str, end: str, place: str, language: str) -> Response:
    """Answer with dates and a place as a line in a language. Raises HTTPException 400 without a date."""
    line = _composed_dateline(start, end, place, language)
    if line is None:
        raise HTTPException(400)
    return page.json({"text": line, "understood": _understood(line, language)})


def _understood(line: str, language: str) -> str:
    """Return how a dateline is printed; empty if it is printed as it is written."""
    datelines, _ = read_datelines(line.strip().rstrip(":：").strip(), language)
    if not line.strip() or not all(found.dates for found in datelines):
        return ""
    return " | ".join(cldr.format_dateline(found, language) for found in datelines)


def for_page(
    page: Page, staff: Staff | None, key: TextKey, state: TextState, form: Mapping[str, Any] | None, base: str
) -> dict[str, Any]:
    """Return what the template shows of a text.

    ``form``: what was typed into it and is not saved, shown in place of what is stored, with the base to save it on.
    """
    content = _without_script(key, state.content) if form is None else form
    lines = [line["text"] for line in content.get("datelines", ())]
    return {
        "content": content,
        "datelines": [(line, _understood(line, key.language)) for line in lines],
        "base": base or state.base,
        **findings_in(page, staff, key, state.content),
    }


def _without_script(key: TextKey, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored text as a form without script edits it."""
    if key.subject is not TextSubject.story:
        return dict(content)
    return {**content, "link_label": plain_line(content["link_label"])}


def for_script(urls: Urls, key: TextKey, state: TextState, left_out: Collection[str] = ()) -> dict[str, Any]:
    """Return a stored text as the script of its page edits it. Raises InvalidTree if its editor cannot hold it."""
    picture = None
    if (info := state.picture) is not None:
        url = urls.picture_url(info.sha256, info.media_type)
        picture = {"url": url, "width": info.width, "height": info.height}
    fields = typed_fields(key.subject, state.content)
    return {
        "picture": picture,
        "base": state.base,
        "fields": {name: value for name, value in fields.items() if name not in left_out},
        "status": state.status,
        "by": state.by,
        "at": state.at.isoformat() if state.at else "",
    }


def script_config(
    urls: Urls, key: TextKey, state: TextState, left_out: Collection[str] = (), **page: object
) -> dict[str, Any] | None:
    """Return what the script of a page begins with; None if the text has something that its editor cannot hold."""
    try:
        return for_script(urls, key, state, left_out) | {"language": key.language} | page
    except InvalidTree:
        return None


def findings_in(page: Page, staff: Staff | None, key: TextKey, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a stored text is not shown as it is meant, and how its datelines are printed."""
    names = (*RICH[key.subject], *(("headline",) if key.subject is TextSubject.story else ()))
    problems = [problem for name in names for problem in find_problems(content[name])]
    lines = map(Dateline.from_json, content.get("datelines", ()))
    return {
        "findings": [page.translate(staff, problem.message) for problem in problems],
        "understood": [cldr.format_dateline(line, key.language) for line in lines],
    }
