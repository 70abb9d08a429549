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
from mailer.adapters.catalogues import Catalogues
from mailer.domain.locales import direction, native_name
from mailer.domain.phrases import Words
from mailer.domain.wording import Wording
from mailer.web.static import static_address
from mailer.web.theme import theme_address


def N_(message: str) -> str:
    """Marks a message for the catalogues that is only said later."""
    return message


class Publication(Protocol):
    """What the frame of a page needs of a newsletter."""

    @property
    def name(self) -> Wording: ...
    @property
    def language(self) -> str:
        """In which to speak."""
        ...

    @property
    def page_languages(self) -> Sequence[str]:
        """In which the page can be had."""
        ...

    @property
    def archive(self) -> str:
        """Its name in addresses where its archive is open to everybody, else empty."""
        ...

    @property
    def theme(self) -> Mapping[str, str]: ...
    @property
    def postal_address(self) -> str: ...
    @property
    def own_words(self) -> Mapping[str, Words]: ...


POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
PRIVATE = {
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
            "day": cldr.day,
            "zone_name": lambda zone, language: cldr.zone_name(zone, language, date.today()),
        }

    def page(
        self,
        name: str,
        language: str,
        values: Mapping[str, object] | None = None,
        status: int = 200,
        own_words: Mapping[str, Words] | None = None,
        policy: str = POLICY,
    ) -> HTMLResponse:
        """The template ``reader/<name>.html``, in a language that has a catalogue, in part perhaps in a
        newsletter's own words."""
        frame: dict[str, object] = {
            "language": language,
            "languages": (),
            "publication": None,
            "archive": "",
            "theme": "",
            "postal_address": "",
            "home": self.at("/"),
            "static": lambda file: self.at(static_address(file)),
            "catalogue": self._catalogues.translations(language, own_words),
        }
        html = self._environment.get_template(f"reader/{name}.html").render(frame | dict(values or {}))
        headers = PRIVATE | {"Content-Security-Policy": policy, "Content-Language": language}
        return HTMLResponse(html, status, headers)

    def of(
        self,
        publication: Publication,
        name: str,
        status: int = 200,
        policy: str = POLICY,
        /,
        **values: object,
    ) -> HTMLResponse:
        """The same for a page of a newsletter: under its name, in its colours, with its address."""
        frame = {
            "languages": publication.page_languages,
            "publication": publication.name,
            "archive": self.at(f"/archive/{publication.archive}") if publication.archive else "",
            "theme": self.at(theme_address(publication.theme)),
            "postal_address": publication.postal_address,
        }
        return self.page(name, publication.language, frame | values, status, publication.own_words, policy)

    def gettext(self, publication: Publication, message: str, **values: object) -> str:
        """A message of the catalogue as the pages of this newsletter say it."""
        said = self._catalogues.translations(publication.language, publication.own_words).gettext(message)
        return str(said) % values if values else str(said)

    def at(self, path: str) -> str:
        """A path of this service as browsers have to ask for it."""
        return self._prefix + path


@pass_context
def _gettext(context: Context, message: str) -> str:
    return escape(context["catalogue"].gettext(message))


@pass_context
def _ngettext(context: Context, singular: str, plural: str, number: int) -> str:
    return escape(context["catalogue"].ngettext(singular, plural, number))
