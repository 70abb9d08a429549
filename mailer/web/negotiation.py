"""The languages that a visitor prefers: from the URL, then from the browser's settings."""

from fastapi import Request

from mailer.domain.languages import InvalidLanguageTag, canonical_tag

_MAX_TAG_LENGTH = 35
"""RFC 5646, section 4.4.1."""
_MAX_ENTRIES = 20
_MAX_HEADER_CHARS = 1000
"""Characters of Accept-Language that are read."""


def requested_languages(request: Request) -> list[str]:
    """Return the language of ``?lang=…``; empty if it is missing or invalid."""
    return _valid_tags([request.query_params.get("lang", "")])


def accepted_languages(request: Request) -> list[str]:
    """Return the languages of ``?lang=…`` and Accept-Language, best first."""
    header = request.headers.get("accept-language", "")[:_MAX_HEADER_CHARS]
    ranked = []
    for place, entry in enumerate(header.split(",")[:_MAX_ENTRIES]):
        tag, _, weight = entry.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            ranked.append((-quality, place, tag.strip()))
    return [*requested_languages(request), *_valid_tags([tag for _, _, tag in sorted(ranked)])]


def _valid_tags(tags: list[str]) -> list[str]:
    valid = []
    for tag in tags:
        if 1 < len(tag) <= _MAX_TAG_LENGTH:
            try:
                valid.append(canonical_tag(tag))
            except InvalidLanguageTag:
                continue
    return valid
