"""What other sites are told about a page: schema.org's description of a story, as JSON-LD."""

import json
from datetime import datetime

from markupsafe import Markup

from mailer.adapters.markup import line_text
from mailer.domain.content import Story
from mailer.services.archive import Card, Imprint
from mailer.web.addresses import Addresses

_IN_SCRIPT = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
"""What could end a script element, or be taken for markup in it."""


def moment(at: datetime) -> str:
    """RFC 3339, as HTML, Atom and site maps want it: ``2026-09-30T09:00:00Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def summary(source: str, length: int = 200) -> str:
    """The beginning of a text as one line of plain text, cut between words."""
    text = line_text(source)
    if len(text) <= length:
        return text
    return text[: text.rfind(" ", 0, length) if " " in text[:length] else length].rstrip(" ,;:–—-") + " …"


def news_article(
    imprint: Imprint, card: Card, story: Story, section: str, canonical: str, to: Addresses
) -> Markup:
    """A story as https://schema.org/NewsArticle, safe inside a script element."""
    publisher = {"@type": "NewsMediaOrganization", "name": imprint.sender_name}
    if imprint.website:
        publisher["url"] = imprint.website
    said: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": line_text(story.headline),
        "description": summary(story.body),
        "inLanguage": story.language,
        "datePublished": moment(card.published),
        "dateModified": moment(card.published),
        "articleSection": section,
        "mainEntityOfPage": to.absolute(canonical),
        "author": publisher,
        "publisher": publisher,
        "isAccessibleForFree": True,
    }
    if story.picture:
        said["image"] = {
            "@type": "ImageObject",
            "url": story.picture.url,
            "width": story.picture.width,
            "height": story.picture.height,
            "caption": story.picture.alt,
        }
    return Markup(json.dumps(said, ensure_ascii=False).translate(_IN_SCRIPT))  # noqa: S704 - nothing in it ends the script
