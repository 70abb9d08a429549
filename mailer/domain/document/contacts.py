"""Contact notes: ``*(For info: Name)*``, and whether they speak for one story or for all above."""

import re
from dataclasses import dataclass

from mailer.domain.document.normalize import folded

MAX_CONTACT_NOTE_CHARS = 600
"""Characters; a longer text in brackets is no contact note."""

# Parts of words, folded, that a contact note begins with in the languages of the service.
_CONTACT_STEMS = (
    "info contact auskunft auskünfte kontakt ansprech rückfrag obavijest obavest obavješt detalle bilgi "
    "iletişim πληροφορ επικοινων инфо інфо справк справок контакт обавест въпрос довідк довідок звертат "
    "معلومات استعلام استفسار تواصل اتصال"
)
_CONTACT_PATTERN = re.compile("|".join(folded(part) for part in _CONTACT_STEMS.split()))
# "On the above", "on all of the above": parts of words, folded.
_ABOVE_STEMS = {
    "en": "above|preceding",
    "fr": "ci-dessus|plus haut|preced",
    "es": "anterior|mas arriba|precedente",
    "de": "oben|obig|vorstehend|vorgenannt|vorangehend",
    "bs": "gore|naved|prethodn|горе|навед|претходн",
    "hr": "gore|naved|prethodn",
    "sr": "gore|naved|prethodn|горе|навед|претходн",
    "sl": "zgoraj|zgornj|naveden|prejsnj|predhodn",
    "sq": "me siper|mesiper|me lart",
    "mk": "погоре|горе|навед|претходн",
    "ro": "mai sus|anterio|precedent",
    "bg": "по-горе|горе|предходн",
    "el": "παραπανω|ανωτερω|προηγουμεν",
    "tr": "yukarida|onceki",
    "uk": "вище|попередн|наведен",
    "ru": "выше|предыдущ|вышеизложен",
    "ar": "اعلاه|ما سبق|سبق|المذكور",
}
_ABOVE_PATTERNS = {
    language: re.compile("|".join(folded(part) for part in words.split("|")))
    for language, words in _ABOVE_STEMS.items()
}


@dataclass(frozen=True, slots=True)
class ContactNote:
    """A contact note at the end of a text. ``named`` says whether its words ask for information or contact;
    ``italic`` whether it was emphasised, which tells it apart where its words are not known here."""

    preceding_text: str
    text: str
    asks_for_contact: bool
    is_italic: bool


def split_contact(text: str) -> ContactNote | None:
    """The contact note that the text ends in: a text in round brackets with a colon in it."""
    end = text.rstrip()
    tail = end[end.rfind(")") + 1 :] if ")" in end else end
    if tail.strip("*_. ") or len(tail) > 10:
        return None
    close = len(end) - len(tail) - 1
    depth, start = 0, -1
    for index in range(close, max(-1, close - MAX_CONTACT_NOTE_CHARS), -1):
        if end[index] == ")":
            depth += 1
        elif end[index] == "(":
            depth -= 1
            if not depth:
                start = index
                break
    head, colon, _ = end[start + 1 : close].replace("：", ":").partition(":")
    if start < 0 or not colon or "](" in end[start - 1 : start + 1]:
        return None
    before = end[:start]
    lead = before[len(before.rstrip("*_")) :]
    note = end[start : close + 1]
    marks = tail.strip(". ")
    italic = bool(lead or marks)
    if lead and marks:
        before = before[: len(before) - len(lead)]
    elif lead:
        before, note = before[: len(before) - len(lead)], _without_marker(note, lead)
    elif marks:
        # The emphasis opened inside the note, "(*For info: …)*", or long before it.
        inside = _without_marker(note, marks)
        before, note = (before, inside) if inside != note else (before.rstrip() + marks, note)
    inner = note[1:-1].strip()
    if len(inner) > 2 and inner[0] in "*_" and inner[-1] == inner[0]:
        note, italic = f"({inner.strip('*_ ')})", True
    named = _CONTACT_PATTERN.search(folded(head)[:80]) is not None
    return ContactNote(before.rstrip(), note, named, italic)


def _without_marker(contact_note: str, marker: str) -> str:
    """The note without the single emphasis mark that was left in it."""
    return contact_note.replace(marker, "", 1)


def applies_to_all(contact_note: str, language: str) -> bool | None:
    """Whether the note says "on the above"; None if the language, or the wording, leaves that open."""
    head = folded(contact_note.partition(":")[0])
    pattern = _ABOVE_PATTERNS.get(language.split("-")[0].lower())
    if (pattern and pattern.search(head)) or _ABOVE_PATTERNS["en"].search(head):
        return True
    return False if pattern and len(head.split()) <= 7 else None
