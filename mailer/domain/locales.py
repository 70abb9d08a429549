"""Language tags (BCP 47: ``en``, ``sr-Cyrl``), native names of languages, and text direction."""

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
    """Yield the tag and each parent: ``sr-Cyrl-RS``, ``sr-Cyrl``, ``sr``.

    Raises ValueError if it is not a language tag.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(f"not a language tag: {tag!r}")
    parts = tag.split("-")
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])


def direction(tag: str) -> str:
    """Return ``ltr`` or ``rtl``, by the tag's script if it has one, else by its language.

    Raises ValueError if it is not a language tag.
    """
    *_, language = tag_and_parents(tag.lower())
    scripts = [part for part in tag.lower().split("-")[1:] if len(part) == 4 and part.isalpha()]
    if scripts:
        return "rtl" if scripts[0] in _RIGHT_TO_LEFT_SCRIPTS else "ltr"
    return "rtl" if language in _RIGHT_TO_LEFT_LANGUAGES else "ltr"


def native_name(tag: str) -> str:
    """Return the language's name in that language, or the tag if the name is unknown."""
    known = languages()
    return next((known[parent].native_name for parent in tag_and_parents(tag) if parent in known), tag)
