"""Pages for readers, each in one language, with the headers that keep them private."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Protocol

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import escape

from mailer.adapters import cldr
from mailer.adapters.i18n import Catalogues
from mailer.domain.locales import direction, native_name
from mailer.domain.localized import LocalizedText
from mailer.domain.text_overrides import OverrideText
from mailer.web.static import static_url
from mailer.web.theme import theme_url


def N_(message: str) -> str:
    """Marks a message for the catalogues that is only said later."""
    return message


class PageFrame(Protocol):
    """What the frame of a page needs of a newsletter."""

    @property
    def name(self) -> LocalizedText: ...
    @property
    def language(self) -> str:
        """In which to speak."""
        ...

    @property
    def ui_languages(self) -> Sequence[str]:
        """In which the page can be had."""
        ...

    @property
    def archive_slug(self) -> str:
        """Its name in addresses where its archive is open to everybody, else empty."""
        ...

    @property
    def theme(self) -> Mapping[str, str]: ...
    @property
    def postal_address(self) -> str: ...
    @property
    def text_overrides(self) -> Mapping[str, OverrideText]: ...


CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
PRIVATE_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""Headers of every page whose address holds a token."""


class Pages:
    """The templates in ``templates/web`` with the words of ``templates/locales``. Safe to share between
    threads."""

    def __init__(self, templates: Path, prefix: str = "") -> None:
        """``prefix``: path under which the public address has these pages, such as ``/news``; else empty."""
        self._prefix = prefix
        self._catalogues = Catalogues(templates / "locales")
        self._environment = Environment(
            loader=FileSystemLoader(templates / "web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        self._environment.install_gettext_callables(  # type: ignore[attr-defined]
            _gettext, _ngettext, newstyle=True
        )
        self._environment.filters |= {
            "direction": direction,
            "native_name": native_name,
            "day": cldr.format_day,
            "zone_name": lambda zone, language: cldr.zone_name(zone, language, date.today()),
        }

    def render(
        self,
        name: str,
        language: str,
        values: Mapping[str, object] | None = None,
        status: int = 200,
        text_overrides: Mapping[str, OverrideText] | None = None,
        csp: str = CSP,
    ) -> HTMLResponse:
        """The template ``public/<name>.html``, in a language that has a catalogue, in part perhaps in a
        newsletter's own words."""
        frame: dict[str, object] = {
            "language": language,
            "languages": (),
            "publication": None,
            "archive": "",
            "theme": "",
            "postal_address": "",
            "home": self.path("/"),
            "static": lambda file: self.path(static_url(file)),
            "catalogue": self._catalogues.translations(language, text_overrides),
        }
        html = self._environment.get_template(f"public/{name}.html").render(frame | dict(values or {}))
        headers = PRIVATE_HEADERS | {"Content-Security-Policy": csp, "Content-Language": language}
        return HTMLResponse(html, status, headers)

    def render_for(
        self,
        page_frame: PageFrame,
        name: str,
        status: int = 200,
        csp: str = CSP,
        /,
        **values: object,
    ) -> HTMLResponse:
        """The same for a page of a newsletter: under its name, in its colours, with its address."""
        frame = {
            "languages": page_frame.ui_languages,
            "publication": page_frame.name,
            "archive": self.path(f"/archive/{page_frame.archive_slug}") if page_frame.archive_slug else "",
            "theme": self.path(theme_url(page_frame.theme)),
            "postal_address": page_frame.postal_address,
        }
        return self.render(name, page_frame.language, frame | values, status, page_frame.text_overrides, csp)

    def gettext(self, page_frame: PageFrame, message: str, **values: object) -> str:
        """A message of the catalogue as the pages of this newsletter say it."""
        said = self._catalogues.translations(page_frame.language, page_frame.text_overrides).gettext(message)
        return str(said) % values if values else str(said)

    def path(self, suffix: str) -> str:
        """A path of this service as browsers have to ask for it."""
        return self._prefix + suffix


@pass_context
def _gettext(context: Context, message: str) -> str:
    return escape(context["catalogue"].gettext(message))


@pass_context
def _ngettext(context: Context, singular: str, plural: str, number: int) -> str:
    return escape(context["catalogue"].ngettext(singular, plural, number))
