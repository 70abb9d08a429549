"""The links in an issue's texts."""

from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import unquote, urldefrag

from mailer.domain.composition import IssueSource
from mailer.domain.markdown import find_links
from mailer.domain.subscriber_fields import InvalidValue, read_address

TextPlace = tuple[str, int | None]
"""The language of a text, and its story; None: the introduction."""


def web_links(source: IssueSource) -> dict[str, list[TextPlace]]:
    """Return the web addresses that the issue links to, without fragments, and the texts that link to each."""
    found: defaultdict[str, list[TextPlace]] = defaultdict(list)
    for place, link in _links(source):
        if not _is_mail(link) and place not in found[urldefrag(link).url]:
            found[urldefrag(link).url].append(place)
    return dict(found)


def invalid_mail_links(source: IssueSource) -> Iterator[tuple[str, TextPlace]]:
    """Yield the ``mailto:`` links without a valid address, with their places."""
    for place, link in _links(source):
        if _is_mail(link) and not all(map(_is_address, link[len("mailto:") :].partition("?")[0].split(","))):
            yield link, place


def _links(source: IssueSource) -> Iterator[tuple[TextPlace, str]]:
    """Yield the links in the order in which they are printed."""
    for language in source.language_rules.languages:
        front = source.front_matter[language]
        for link in (*find_links(front.intro), *find_links(front.partial_intro)):
            yield (language, None), link
    for story in source.stories:
        for language, text in story.texts.items():
            for part in (text.headline, text.body, *text.contacts):
                for link in find_links(part):
                    yield (language, story.story), link
            if text.link:
                yield (language, story.story), text.link


def _is_mail(link: str) -> bool:
    return link[:7].lower() == "mailto:"


def _is_address(written: str) -> bool:
    try:
        read_address(unquote(written))
    except InvalidValue:
        return False
    return True
