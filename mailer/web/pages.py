"""Pages for readers, each in one language, with the headers that keep them private."""

from collections.abc import Mapping
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import escape

from mailer.adapters.catalogues import Catalogues
from mailer.domain.locales import direction, native_name
from mailer.web.static import static_address

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
        self._environment.filters |= {"direction": direction, "native_name": native_name}

    def page(
        self, name: str, language: str, values: Mapping[str, object] | None = None, status: int = 200
    ) -> HTMLResponse:
        """The template ``reader/<name>.html``, in a language that has a catalogue."""
        frame: dict[str, object] = {
            "language": language,
            "languages": (),
            "publication": None,
            "theme": "",
            "postal_address": "",
            "static": lambda file: self.at(static_address(file)),
            "catalogue": self._catalogues.translations(language),
        }
        html = self._environment.get_template(f"reader/{name}.html").render(frame | dict(values or {}))
        headers = PRIVATE | {"Content-Security-Policy": POLICY, "Content-Language": language}
        return HTMLResponse(html, status, headers)

    def at(self, path: str) -> str:
        """A path of this service as browsers have to ask for it."""
        return self._prefix + path


@pass_context
def _gettext(context: Context, message: str) -> str:
    return escape(context["catalogue"].gettext(message))


@pass_context
def _ngettext(context: Context, singular: str, plural: str, number: int) -> str:
    return escape(context["catalogue"].ngettext(singular, plural, number))
