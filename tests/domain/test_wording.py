from mailer.domain.wording import Wording, page_language, spoken, worded

CHAINS = {"bs": ["hr", "sr-Latn"]}


def test_the_nearest_text_is_shown_with_its_own_language() -> None:
    texts = {"en": "River", "hr": "Rijeka", "sr-Cyrl": "Река"}
    assert worded(texts, "sr", CHAINS, "en") == Wording("Река", "sr-Cyrl")
    assert worded(texts, "bs", CHAINS, "en") == Wording("Rijeka", "hr")
    assert worded(texts, "ar", CHAINS, "en") == Wording("River", "en")
    assert worded({"hr": "Rijeka"}, "ar", {}, "en") == Wording("Rijeka", "hr")
    assert worded({}, "ar", {}, "en") == Wording("", "ar")


def test_pages_speak_languages_that_have_a_catalogue() -> None:
    assert spoken(["fr-CH", "sr", "pt", "fr", "sr-Latn"]) == ("fr", "sr-Cyrl", "sr-Latn")
    assert page_language(["sr-Latn-BA"], ["en", "sr-Latn"], {}, "en") == "sr-Latn"
    assert page_language(["bs"], ["en", "hr"], CHAINS, "en") == "hr"
    assert page_language(["pt"], ["en", "fr"], {}, "fr") == "fr"
    assert page_language(["pt"], ["pt"], {}, "pt") == "en"
