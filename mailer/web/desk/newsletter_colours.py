"""The colours of a newsletter, with their contrast and a sample email in them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from mailer.domain.colours import check_contrast
from mailer.domain.content import EditionContent, EditionSection, EditionStory, EditionUrls, Theme
from mailer.domain.locales import direction
from mailer.domain.localized import localize
from mailer.domain.newsletter import ThemeSettings
from mailer.domain.text_overrides import overrides_for
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters.settings import Values
from mailer.web.desk.newsletter import SETTINGS, Editor, SettingsVisit, SettingsVisitOf, part_of
from mailer.web.desk.preview import EDITION_HEADERS
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=f"{SETTINGS}/colours", include_in_schema=False)
_SAMPLE_SECTIONS = 3


def _read_theme(
    visit: SettingsVisitOf, accent: str = "", text: str = "", surface: str = "", background: str = ""
) -> Theme:
    """Return the theme of a query; a colour that is missing or no colour is the stored one."""
    theme = visit.load().theme.model_dump()
    asked = {"accent": accent, "text": text, "surface": surface, "background": background}
    for name, colour in asked.items():
        try:
            theme[name] = getattr(ThemeSettings.model_validate({name: colour.strip()}), name)
        except ValidationError:
            continue
    return Theme(**theme)


ThemeOf = Annotated[Theme, Depends(_read_theme)]
"""A handler takes it after what it ``Requires``."""


@router.get("")
def colours_page(staff: Editor, visit: SettingsVisitOf, theme: ThemeOf, done: str = "") -> Response:
    return _show(visit, staff, theme, done=done)


@router.post("")
def save_colours(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    def edit(values: Values) -> None:
        values["theme"] = {name: str(form.get(name, "")).strip() for name in ThemeSettings.model_fields}

    def refused(refusal: Exception) -> Response:
        asked = {name: str(form.get(name, "")) for name in ThemeSettings.model_fields}
        return _show(visit, staff, _read_theme(visit, **asked), refusal=refusal, form=form)

    return visit.save(staff, form, edit, part_of("theme"), refused=refused, then="/colours")


def _show(visit: SettingsVisit, staff: Staff, theme: Theme, **more: Any) -> Response:
    asked = {name: getattr(theme, name) for name in ThemeSettings.model_fields}
    return visit.show(
        "newsletter_colours",
        staff,
        part_of("theme"),
        theme=asked,
        contrasts=check_contrast(theme),
        **more,
    )


@router.get("/sample")
def sample(staff: Editor, visit: SettingsVisitOf, theme: ThemeOf) -> Response:
    """Return a sample email in these colours, for the frame on the page."""
    page = visit.page

    def gettext(message: str) -> str:
        return page.pages.gettext(page.request, staff, message)

    settings, language = visit.load(), page.pages.language(page.request, staff)
    default = settings.default_language
    texts = (
        gettext("A headline that is long enough to show how it looks"),
        gettext("The text of a story, with [a link](https://example.org/) in it."),
    )

    def title(titles: Mapping[str, str]) -> str:
        return localize(titles, default, settings.fallbacks, default).text

    content = EditionContent(
        language=default,
        direction=direction(default),
        newsletter=title(settings.names),
        tagline=title(settings.taglines),
        issue_label="1",
        issue_date=visit.app.clock.now().date(),
        subject=gettext("A sample"),
        preheader="",
        intro=gettext("An introduction in the colours of this page."),
        sections=tuple(
            EditionSection(
                section.key,
                title(section.titles),
                default,
                (EditionStory(section.key, *texts, language, link="https://example.org/"),),
                section.colour,
            )
            for section in settings.sections[:_SAMPLE_SECTIONS]
        ),
        unfollowed_sections=(),
        postal_address=settings.postal_address,
        sender_name=settings.sender_name,
        reply_to=settings.reply_to or settings.sender_address,
        urls=EditionUrls(web_view="https://example.org/", website=settings.website),
        theme=theme,
        text_overrides=overrides_for(settings.text_overrides, default),
    )
    return HTMLResponse(visit.app.renderer.render(content).html, headers=EDITION_HEADERS)
