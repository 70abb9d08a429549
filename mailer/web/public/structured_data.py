"""Descriptions of a page for other sites, including schema.org data as JSON-LD."""

import json
from datetime import datetime

from markupsafe import Markup

from mailer.adapters.markdown import inline_text
from mailer.adapters.urls import Urls
from mailer.domain.content import EditionStory
from mailer.services.archive.pages import IssueSummary, NewsletterPage

_SCRIPT_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
"""Characters that could end a script element or be read as markup."""


def iso_time(time: datetime) -> str:
    """Return a time in RFC 3339 for HTML, Atom and sitemaps: ``2026-09-30T09:00:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def description(source: str, length: int = 200) -> str:
    """Return the beginning of a text as one line of plain text, cut between words."""
    text = inline_text(source)
    if len(text) <= length:
        return text
    return text[: text.rfind(" ", 0, length) if " " in text[:length] else length].rstrip(" ,;:–—-") + " …"


def news_article(
    newsletter: NewsletterPage,
    issue: IssueSummary,
    story: EditionStory,
    section: str,
    canonical: str,
    urls: Urls,
) -> Markup:
    """Return a story as https://schema.org/NewsArticle, escaped for a script element."""
    publisher = {"@type": "NewsMediaOrganization", "name": newsletter.sender_name}
    if newsletter.website:
        publisher["url"] = newsletter.website
    article: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": inline_text(story.headline),
        "description": description(story.body),
        "inLanguage": story.language,
        "datePublished": iso_time(issue.published_at),
        "dateModified": iso_time(issue.published_at),
        "articleSection": section,
        "mainEntityOfPage": urls.absolute(canonical),
        "author": publisher,
        "publisher": publisher,
        "isAccessibleForFree": True,
    }
    if story.picture:
        article["image"] = {
            "@type": "ImageObject",
            "url": story.picture.url,
            "width": story.picture.width,
            "height": story.picture.height,
            "caption": story.picture.alt,
            **({"creditText": story.picture.credit} if story.picture.credit else {}),
        }
    return Markup(json.dumps(article, ensure_ascii=False).translate(_SCRIPT_ESCAPES))  # noqa: S704 - escaped
