"""Contact notes in the languages of the service."""

import pytest

from mailer.domain.document.contacts import split_contact
from mailer.language_data import languages

_NOTES = {
    "en": ["For further information", "Enquiries", "Questions", "Contact"],
    "ar": ["للمزيد من المعلومات", "للاستفسار", "للتواصل", "أسئلة", "لمعرفة المزيد"],
    "bg": ["За повече информация", "За връзка", "Въпроси", "Справки"],
    "bs": ["Za više informacija", "Upiti", "Za sva pitanja", "Obavještenja"],
    "de": ["Auskünfte erteilt", "Fragen an", "Näheres bei", "Rückfragen"],
    "el": ["Πληροφορίες", "Επικοινωνία", "Ερωτήσεις", "Λεπτομέρειες"],
    "es": ["Para más información", "Consultas", "Más datos", "Preguntas"],
    "fr": ["Renseignements", "Pour en savoir plus", "Pour plus de détails", "Contact"],
    "hr": ["Za više informacija", "Upiti", "Pojedinosti", "Obavijesti"],
    "mk": ["За повеќе информации", "Прашања", "Детали", "Лице за контакт"],
    "ro": ["Informații suplimentare", "Relații", "Întrebări", "Detalii"],
    "ru": ["За справками обращаться", "Подробнее", "Для связи", "Вопросы"],
    "sl": ["Več informacij", "Pojasnila", "Vprašanja", "Stik"],
    "sq": ["Për informata", "Për pyetje", "Hollësi", "Për detaje"],
    "sr-Cyrl": ["За више информација", "Обавештења", "Упити", "За сва питања"],
    "sr-Latn": ["Za više informacija", "Obaveštenja", "Upiti", "Za sva pitanja"],
    "tr": ["Ayrıntılı bilgi", "İLETİŞİM", "Sorularınız için", "Detaylar"],
    "uk": ["Для довідок", "Докладніше", "Для зв'язку", "Подробиці"],
}


def test_every_language_has_notes() -> None:
    assert _NOTES.keys() == languages().keys()


@pytest.mark.parametrize(("language", "head"), [(tag, head) for tag, heads in _NOTES.items() for head in heads])
def test_words_that_ask_for_contact(language: str, head: str) -> None:
    note = split_contact(f"Text. ({head}: Xyz)")

    assert note is not None
    assert (note.preceding_text, note.asks_for_contact, note.is_italic) == ("Text.", True, False)


@pytest.mark.parametrize("head", ["Photo", "Programme", "Слика", "الصورة", "Foto"])
def test_other_words_in_brackets(head: str) -> None:
    note = split_contact(f"Text. ({head}: Xyz)")

    assert note is not None
    assert not note.asks_for_contact
