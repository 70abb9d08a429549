"""Which language a visitor wants: by a link of the page, then by the browser's settings."""

from fastapi import Request

from mailer.domain.languages import NotALanguage, canonical

_LONGEST_TAG = 35
"""RFC 5646, section 4.4.1."""
_MOST = 20


def asked(request: Request) -> list[str]:
    """The language that a link ``?lang=…`` asks for; empty for none, or for no language tag."""
    return _tags([request.query_params.get("lang", "")])


def wanted(request: Request) -> list[str]:
    """The languages that an unknown visitor wants, best first."""
    ranked = []
    for place, entry in enumerate(request.headers.get("accept-language", "").split(",")[:_MOST]):
        tag, _, weight = entry.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            ranked.append((-quality, place, tag.strip()))
    return [*asked(request), *_tags([tag for _, _, tag in sorted(ranked)])]


def _tags(written: list[str]) -> list[str]:
    found = []
    for tag in written:
        if 1 < len(tag) <= _LONGEST_TAG:
            try:
                found.append(canonical(tag))
            except NotALanguage:
                continue
    return found
