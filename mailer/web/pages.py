"""Renders private pages for readers, with headers against caching and indexing."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mailer.adapters import cldr
from mailer.adapters.i18n import Catalogues, install_gettext
from mailer.adapters.urls import Urls
from mailer.domain.locales import direction, native_name
from mailer.domain.page_frame import PageFrame
from mailer.domain.ports import Clock
from mailer.domain.text_overrides import OverrideText
from mailer.web.static import static_url
from mailer.web.theme import theme_url

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PRIVATE_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""The headers of every page whose URL contains a token."""


@cache
def make_environment(templates: Path) -> Environment:
    """Return the environment of the templates in ``templates/web``, which translate with ``catalogue``.

    All pages of a process share it, and the compiled templates with it.
    """
    environment = Environment(
        loader=FileSystemLoader(templates / "web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install_gettext(environment)
    environment.filters |= {"direction": direction, "native_name": native_name}
    environment.filters |= {"day": cldr.format_day, "zone_name": cldr.zone_name}
    return environment


class Pages:
    """Renders the templates in ``templates/web/public`` with the catalogues. Thread-safe."""

    def __init__(self, templates: Path, catalogues: Catalogues, urls: Urls, clock: Clock) -> None:
        self.urls = urls
        self._catalogues = catalogues
        self._clock = clock
        self._environment = make_environment(templates)

    def render(
        self,
        name: str,
        language: str,
        values: Mapping[str, object] | None = None,
        status: int = 200,
        text_overrides: Mapping[str, OverrideText] | None = None,
        csp: str = CSP,
    ) -> HTMLResponse:
        """Render ``public/<name>.html`` in a language that has a catalogue, with a newsletter's text overrides."""
        frame: dict[str, object] = {
            "language": language,
            "today": self._clock.now().date(),
            "languages": (),
            "publication": None,
            "archive": "",
            "theme": "",
            "postal_address": "",
            "to": self.urls,
            "static": lambda file: self.urls.path(static_url(file)),
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
        """Render a page of a newsletter, with its name, colours and postal address."""
        frame = {
            "languages": page_frame.ui_languages,
            "publication": page_frame.name,
            "archive": self.urls.archive(page_frame.archive_slug) if page_frame.archive_slug else "",
            "theme": self.urls.path(theme_url(page_frame.theme)),
            "postal_address": page_frame.postal_address,
        }
        return self.render(name, page_frame.language, frame | values, status, page_frame.text_overrides, csp)

    def gettext(self, page_frame: PageFrame, message: str, **values: object) -> str:
        """Return a translated message, with the newsletter's text overrides."""
        catalogue = self._catalogues.translations(page_frame.language, page_frame.text_overrides)
        text = str(catalogue.gettext(message))
        return text % values if values else text
