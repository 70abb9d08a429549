"""A newsletter's own wording for texts of its emails and pages."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response

from mailer.domain.localized import ui_languages
from mailer.domain.newsletter import NewsletterSettings
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters.settings import Values
from mailer.web.desk.newsletter import SETTINGS, Editor, SettingsVisit, SettingsVisitOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=f"{SETTINGS}/texts", include_in_schema=False)


@router.get("")
def texts_page(staff: Editor, visit: SettingsVisitOf, done: str = "", language: str = "", text: str = "") -> Response:
    return _show(visit, staff, language, text, done=done)


@router.post("")
def save_text(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    """Replace a text in one language, or go back to the usual one."""
    language, text = str(form.get("language", "")), str(form.get("text", ""))
    if language not in _choices(visit.load()):
        raise HTTPException(400)
    message = visit.app.catalogues.messages.get(text)

    def edit(values: Values) -> None:
        own = values["text_overrides"].setdefault(language, {})
        if form.get("action") == "remove":
            own.pop(text, None)
        else:
            forms = [str(words).strip() for words in form.getlist("words")]
            own[text] = forms if message and message.plural else "".join(forms)
        if not own:
            del values["text_overrides"][language]

    def part(values: Values) -> object:
        return values["text_overrides"].get(language, {}).get(text, "")

    def refused(refusal: Exception) -> Response:
        return _show(visit, staff, language, text, refusal=refusal, form=form)

    return visit.save(staff, form, edit, part, refused=refused, then=f"/texts?language={language}")


def _choices(settings: NewsletterSettings) -> list[str]:
    """Return the languages in which texts can be replaced."""
    tags = [*settings.languages, *ui_languages(settings.languages), *settings.text_overrides]
    return list(dict.fromkeys(tags))


def _show(visit: SettingsVisit, staff: Staff, language: str, text: str, **more: Any) -> Response:
    catalogues, settings = visit.app.catalogues, visit.load()
    choices = _choices(settings)
    language = language if language in choices else settings.default_language
    own = settings.text_overrides.get(language, {})
    form = more.get("form")
    words = form.getlist("words") if form else own.get(text, "")
    message = catalogues.messages.get(text)

    def part(values: Values) -> object:
        return values["text_overrides"].get(language, {}).get(text, "")

    return visit.show(
        "newsletter_texts",
        staff,
        part,
        choices=choices,
        chosen=language,
        own=own,
        messages=sorted(catalogues.messages),
        text=text,
        message=message,
        usual=catalogues.usual_forms(language, text) if message else (),
        words=[words] if isinstance(words, str) else list(words),
        **more,
    )
