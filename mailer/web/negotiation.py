"""Which language a visitor wants: by a link of the page, then by the browser's settings."""

from fastapi import Request

from mailer.domain.languages import InvalidLanguageTag, canonical_tag

_MAX_TAG_LENGTH = 35
"""RFC 5646, section 4.4.1."""
_MAX_ENTRIES = 20


def requested_languages(request: Request) -> list[str]:
    """The language that a link ``?lang=…`` asks for; empty for none, or for no language tag."""
    return _valid_tags([request.query_params.get("lang", "")])


def accepted_languages(request: Request) -> list[str]:
    """The languages that an unknown visitor wants, best first."""
    ranked = []
    for place, entry in enumerate(request.headers.get("accept-language", "").split(",")[:_MAX_ENTRIES]):
        tag, _, weight = entry.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            ranked.append((-quality, place, tag.strip()))
    return [*requested_languages(request), *_valid_tags([tag for _, _, tag in sorted(ranked)])]


def _valid_tags(written: list[str]) -> list[str]:
    found = []
    for tag in written:
        if 1 < len(tag) <= _MAX_TAG_LENGTH:
            try:
                found.append(canonical_tag(tag))
            except InvalidLanguageTag:
                continue
    return found
