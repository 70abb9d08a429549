"""Renders public pages, which are the same for every visitor and can be cached."""

import gzip
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from mailer.adapters import cldr, markdown
from mailer.adapters.i18n import Catalogues
from mailer.adapters.tokens import fingerprint
from mailer.adapters.urls import Urls
from mailer.bootstrap import Container
from mailer.domain.locales import direction
from mailer.domain.ports import Clock
from mailer.services.archive.pages import NewsletterPage, archive_version
from mailer.web.pages import CSP, Pages
from mailer.web.public.document_cache import DocumentCache
from mailer.web.static import static_url
from mailer.web.theme import theme_url

_CACHE_CONTROL = "public, max-age=300"
"""Long enough to absorb peaks, short enough for corrections."""
_ACCEPTS_GZIP = re.compile(r"(?:^|[\s,])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_INVALID_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 does not allow."""


class ArchivePages(Pages):
    """Renders the templates in ``templates/web/archive``. Thread-safe."""

    def __init__(self, templates: Path, catalogues: Catalogues, urls: Urls, clock: Clock) -> None:
        super().__init__(templates, catalogues, urls, clock)
        self._documents = DocumentCache()
        self._environment.filters |= {
            "dated": cldr.format_dateline,
            "language_name": cldr.language_name,
            "titles": cldr.join_titles,
            "html": _block_html,
            "line": _inline_html,
            "plain": markdown.inline_text,
            "language_attributes": _language_attributes,
        }

    def html(
        self,
        request: Request,
        name: str,
        newsletter: NewsletterPage,
        languages: Mapping[str, str],
        values: Mapping[str, object],
        *,
        canonical: str,
        default_path: str = "",
        indexed: bool = True,
    ) -> Response:
        """Render ``archive/<name>.html``.

        ``languages`` are the languages of the page with their paths. ``canonical`` is the path for search engines.
        ``default_path`` is the path for all other languages; by default, that of the newsletter's default language.
        """
        colours = [section.colour for section in newsletter.sections]
        frame: dict[str, object] = {
            "language": newsletter.frame.language,
            "newsletter": newsletter,
            "languages": languages,
            "canonical": canonical,
            "anywhere": default_path
            or languages.get(newsletter.default_language)
            or next(iter(languages.values()), ""),
            "indexed": indexed,
            "to": self.urls,
            "tones": {section.key: number for number, section in enumerate(newsletter.sections, start=1)},
            "static": lambda file: self.urls.path(static_url(file)),
            "theme": self.urls.path(theme_url(newsletter.frame.theme, colours)),
            "catalogue": self._catalogues.translations(newsletter.frame.language, newsletter.frame.text_overrides),
        }
        html = self._environment.get_template(f"archive/{name}.html").render(frame | dict(values))
        headers = {
            "Content-Language": newsletter.language,
            "Content-Security-Policy": CSP,
            "X-Content-Type-Options": "nosniff",
        }
        if not indexed:
            headers["X-Robots-Tag"] = "noindex"
        return cached_response(request, html, "text/html", headers)

    def xml(
        self,
        request: Request,
        app: Container,
        name: str,
        media_type: str,
        load_values: Callable[[], Mapping[str, object]],
    ) -> Response:
        """Render ``archive/<name>.xml``, at most once in five minutes unless an issue was sent meanwhile."""

        def render() -> str:
            template = self._environment.get_template(f"archive/{name}.xml")
            return _INVALID_IN_XML.sub("", template.render({"to": self.urls} | dict(load_values())))

        version = archive_version(app.database)
        document = self._documents.get(request.scope["path"], version, app.clock.now(), render)
        return cached_response(request, document, media_type, {"X-Content-Type-Options": "nosniff"})


def cached_response(request: Request, text: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return a cacheable response, or 304 if the client has the same version (RFC 9110, 13.1.2).

    It is compressed if the client accepts gzip. Public pages contain no secrets that their length could reveal.
    """
    body = text.encode()
    tag = f'W/"{fingerprint(body)[:32]}"'  # weak, because it is the same with and without compression
    all_headers = {"Cache-Control": _CACHE_CONTROL, "ETag": tag, "Vary": "Accept-Encoding", **headers}
    known_tags = [known_tag.strip() for known_tag in request.headers.get("if-none-match", "").split(",")]
    if "*" in known_tags or tag.removeprefix("W/") in (known_tag.removeprefix("W/") for known_tag in known_tags):
        return Response(status_code=304, headers=all_headers)
    if _ACCEPTS_GZIP.search(request.headers.get("accept-encoding", "")):
        return Response(gzip.compress(body, 6, mtime=0), 200, all_headers | {"Content-Encoding": "gzip"}, media_type)
    return Response(body, 200, all_headers, media_type)


def _inline_html(source: str) -> Markup:
    return Markup(markdown.inline_html(source))  # noqa: S704 - cleaned


def _block_html(source: str, level: int = 4) -> Markup:
    """Return Markdown as HTML, with its headings at ``level``."""
    html = markdown.to_html(source)
    return Markup(re.sub(r"<(/?)h4>", rf"<\1h{level}>", html))  # noqa: S704 - cleaned


@pass_context
def _language_attributes(context: Context, language: str) -> Markup:
    """Return the attributes of text in another language; empty for text in the page's language."""
    if language == context["language"]:
        return Markup()
    return Markup(' lang="{}" dir="{}"').format(language, direction(language))
