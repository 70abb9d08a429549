"""Language tags, the languages' own names, and which way they run. Tags are BCP 47 (``en``, ``sr-Cyrl``)."""

import re
from collections.abc import Iterator

from mailer.language_data import languages

_RIGHT_TO_LEFT_SCRIPTS = {"adlm", "arab", "hebr", "nkoo", "rohg", "syrc", "thaa"}
_RIGHT_TO_LEFT_LANGUAGES = {
    "ar",
    "arc",
    "ckb",
    "dv",
    "fa",
    "he",
    "ks",
    "nqo",
    "ps",
    "sd",
    "syr",
    "ug",
    "ur",
    "yi",
}
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def tag_and_parents(tag: str) -> Iterator[str]:
    """The tag, then each wider one: ``sr-Cyrl-RS``, ``sr-Cyrl``, ``sr``. Raises ``ValueError`` if it is no
    language tag."""
    if not _TAG.fullmatch(tag):
        raise ValueError(f"not a language tag: {tag!r}")
    parts = tag.split("-")
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])


def direction(tag: str) -> str:
    """``ltr`` or ``rtl``: by the tag's script if it names one, else by its language. Raises ``ValueError``
    if it is no language tag."""
    *_, language = tag_and_parents(tag.lower())
    scripts = [part for part in tag.lower().split("-")[1:] if len(part) == 4 and part.isalpha()]
    if scripts:
        return "rtl" if scripts[0] in _RIGHT_TO_LEFT_SCRIPTS else "ltr"
    return "rtl" if language in _RIGHT_TO_LEFT_LANGUAGES else "ltr"


def native_name(tag: str) -> str:
    """The language's name in itself, or the tag where it has none here."""
    known = languages()
    return next((known[wider].native_name for wider in tag_and_parents(tag) if wider in known), tag)
