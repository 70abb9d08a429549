"""Tests of a text's letters: capitals, the end of a sentence, the middle of a sentence."""

import re

_SUB_SUP_TAGS = re.compile(r"<(su[pb])>[^<]{0,40}</\1>|<[^<>]{1,40}>|\[\^[^\[\]]{1,100}\]", re.IGNORECASE)
"""Tags, raised and lowered text, and references to footnotes."""
_SENTENCE_ENDS = ".!?…:。！？：؟۔।॥։።។"
_CLOSERS = " \t\n\xa0*_)]}\"'»”’›“」』）】"
_BLANKS = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""White space except no-break spaces."""
_OPENERS = " \t\n\xa0*_([\"'«„“‘‹「『（【"


def _is_lowercase(character: str) -> bool:
    """Return whether a letter is lower-case, in a script that begins sentences with capitals.

    Georgian has capitals in Unicode, but uses them only for whole words.
    """
    return character.islower() and not "ა" <= character <= "ჿ"


def is_all_caps(text: str) -> bool:
    """Return whether all letters are capitals, ignoring those in ``<sup>`` as in ``61<sup>st</sup>``."""
    plain = _SUB_SUP_TAGS.sub("", text)
    return any(map(str.isupper, plain)) and not any(map(str.islower, plain))


def is_caseless(text: str) -> bool:
    """Return whether the text has letters, all of a script without capitals such as Arabic."""
    return any(map(str.isalpha, text)) and not any(c.isupper() or _is_lowercase(c) for c in text)


def ends_sentence(text: str) -> bool:
    tail = text.rstrip()[-200:]
    return _SUB_SUP_TAGS.sub("", tail).rstrip(_CLOSERS).endswith(tuple(_SENTENCE_ENDS))


def starts_lowercase(text: str) -> bool:
    """Return whether the text begins with a lower-case letter."""
    return _is_lowercase(text.lstrip(_OPENERS)[:1])


def starts_caseless(text: str) -> bool:
    """Return whether the text begins with a letter of a script without capitals."""
    return is_caseless(text.lstrip(_OPENERS)[:1])


def excerpt(text: str) -> str:
    """Return the beginning of a text for quotation in a message."""
    line = " ".join(text[:400].split())
    return line if len(line) <= 60 else line[:57].rsplit(" ", 1)[0] + "…"


def one_line(text: str) -> str:
    """Return a text with white space collapsed. No-break spaces stay: French has one before a colon."""
    return _BLANKS.sub(" ", text).strip()
