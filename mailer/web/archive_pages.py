"""Pages that everybody may read and keep: each is the same for all who ask."""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from mailer.adapters import cldr, markup
from mailer.adapters.tokens import fingerprint
from mailer.domain.locales import direction
from mailer.domain.phrases import own_words
from mailer.services.archive import Imprint
from mailer.web.addresses import Addresses
from mailer.web.pages import POLICY, Pages
from mailer.web.static import static_address
from mailer.web.theme import theme_address

_CACHED = "public, max-age=300"
"""Long enough for a crowd that follows one link, short enough for a correction."""
_GZIP = re.compile(r"(?:^|[\s,])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 has no way to say."""


class ArchivePages(Pages):
    """The templates in ``templates/web/archive``. Safe to share between threads."""

    def __init__(self, templates: Path, to: Addresses, prefix: str = "") -> None:
        super().__init__(templates, prefix)
        self._to = to
        self._environment.filters |= {
            "day": cldr.day,
            "dated": cldr.dated,
            "language_name": cldr.language_name,
            "listed": lambda items, language: cldr.listed(tuple(items), language),
            "html": _html,
            "line": _line,
            "plain": markup.line_text,
            "spoken": _spoken,
        }

    def show(
        self,
        request: Request,
        name: str,
        imprint: Imprint,
        languages: Mapping[str, str],
        values: Mapping[str, object],
        *,
        canonical: str,
        anywhere: str = "",
        indexed: bool = True,
    ) -> Response:
        """The template ``archive/<name>.html``.

        ``languages``: those in which the same can be had, each with its path; ``canonical``: the path under
        which search engines should know the page; ``anywhere``: the path for people of any other language,
        without which that of the newsletter's own language serves.
        """
        colours = [topic.colour for topic in imprint.topics]
        frame: dict[str, object] = {
            "language": imprint.speaks,
            "imprint": imprint,
            "languages": languages,
            "canonical": canonical,
            "anywhere": anywhere
            or languages.get(imprint.default_language)
            or next(iter(languages.values()), ""),
            "indexed": indexed,
            "to": self._to,
            "tones": {topic.key: number for number, topic in enumerate(imprint.topics, start=1)},
            "static": lambda file: self.at(static_address(file)),
            "theme": self.at(theme_address(imprint.theme, colours)),
            "catalogue": self._catalogues.translations(
                imprint.speaks, own_words(imprint.phrases, imprint.language)
            ),
        }
        html = self._environment.get_template(f"archive/{name}.html").render(frame | dict(values))
        headers = {
            "Content-Language": imprint.language,
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        if not indexed:
            headers["X-Robots-Tag"] = "noindex"
        return kept(request, html, "text/html", headers)

    def xml(self, request: Request, name: str, media_type: str, values: Mapping[str, object]) -> Response:
        """The template ``archive/<name>.xml``."""
        made = self._environment.get_template(f"archive/{name}.xml").render({"to": self._to} | dict(values))
        return kept(request, _UNPRINTABLE.sub("", made), media_type, {"X-Content-Type-Options": "nosniff"})


def kept(request: Request, text: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """An answer that caches may keep, or 304 for whoever has it already (RFC 9110, 13.1.2). It is compressed
    for whoever can read that: no page that is open to everybody holds a secret that its length could tell."""
    body = text.encode()
    tag = f'W/"{fingerprint(body)[:32]}"'  # weak: the same for both codings
    full = {"Cache-Control": _CACHED, "ETag": tag, "Vary": "Accept-Encoding", **headers}
    known = [had.strip() for had in request.headers.get("if-none-match", "").split(",")]
    if "*" in known or tag.removeprefix("W/") in (had.removeprefix("W/") for had in known):
        return Response(status_code=304, headers=full)
    if _GZIP.search(request.headers.get("accept-encoding", "")):
        return Response(gzip.compress(body, 6, mtime=0), 200, full | {"Content-Encoding": "gzip"}, media_type)
    return Response(body, 200, full, media_type)


def _line(source: str) -> Markup:
    return Markup(markup.line_html(source))  # noqa: S704 - cleaned


def _html(source: str, level: int = 4) -> Markup:
    """Text with the author's own headings at a level below that of its title."""
    html = markup.to_html(source)
    return Markup(re.sub(r"<(/?)h4>", rf"<\1h{level}>", html))  # noqa: S704 - cleaned


@pass_context
def _spoken(context: Context, language: str) -> Markup:
    """The attributes of words in another language than the page's; nothing for words in its own."""
    if language == context["language"]:
        return Markup()
    return Markup(' lang="{}" dir="{}"').format(language, direction(language))
