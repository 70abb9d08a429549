"""What the letters of a text tell about it: capitals, a sentence's end, a sentence's middle."""

import re

_SUB_SUP_TAGS = re.compile(r"<(su[pb])>[^<]{0,40}</\1>|<[^<>]{1,40}>", re.IGNORECASE)
_SENTENCE_ENDS = ".!?…:。؟۔।"
_CLOSERS = " \t\n\xa0*_)]}\"'»”’›“"
_OPENERS = " \t\n\xa0*_([\"'«„“‘‹"


def is_all_caps(text: str) -> bool:
    """Whether all letters are capitals; those of ``61<sup>st</sup>`` don't count."""
    plain = _SUB_SUP_TAGS.sub("", text)
    return any(map(str.isupper, plain)) and not any(map(str.islower, plain))


def is_caseless(text: str) -> bool:
    """Whether the text has letters, but of a script without capitals, such as Arabic."""
    return any(map(str.isalpha, text)) and not any(c.isupper() or c.islower() for c in text)


def ends_sentence(text: str) -> bool:
    tail = text.rstrip()[-200:]
    return _SUB_SUP_TAGS.sub("", tail).rstrip(_CLOSERS).endswith(tuple(_SENTENCE_ENDS))


def starts_lowercase(text: str) -> bool:
    """Whether the text begins with a small letter."""
    return text.lstrip(_OPENERS)[:1].islower()


def starts_mid_sentence(text: str) -> bool:
    """Whether the text begins with a letter that begins no sentence: a small one, or one without case."""
    first = text.lstrip(_OPENERS)[:1]
    return first.islower() or (first.isalpha() and not first.isupper() and not first.istitle())


def excerpt(text: str) -> str:
    """The beginning of a text, to quote it in a message."""
    line = " ".join(text[:400].split())
    return line if len(line) <= 60 else line[:57].rsplit(" ", 1)[0] + "…"
