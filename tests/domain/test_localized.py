from mailer.domain.localized import LocalizedText, localize, ui_language, ui_languages

CHAINS = {"bs": ["hr", "sr-Latn"]}


def test_the_nearest_text_is_shown_with_its_own_language() -> None:
    texts = {"en": "River", "hr": "Rijeka", "sr-Cyrl": "Река"}
    assert localize(texts, "sr", CHAINS, "en") == LocalizedText("Река", "sr-Cyrl")
    assert localize(texts, "bs", CHAINS, "en") == LocalizedText("Rijeka", "hr")
    assert localize(texts, "ar", CHAINS, "en") == LocalizedText("River", "en")
    assert localize({"hr": "Rijeka"}, "ar", {}, "en") == LocalizedText("Rijeka", "hr")
    assert localize({}, "ar", {}, "en") == LocalizedText("", "ar")


def test_page_language_has_a_catalogue() -> None:
    assert ui_languages(["fr-CH", "sr", "pt", "fr", "sr-Latn"]) == ("fr", "sr-Cyrl", "sr-Latn")
    assert ui_language(["sr-Latn-BA"], ["en", "sr-Latn"], {}, "en") == "sr-Latn"
    assert ui_language(["bs"], ["en", "hr"], CHAINS, "en") == "hr"
    assert ui_language(["pt"], ["en", "fr"], {}, "fr") == "fr"
    assert ui_language(["pt"], ["pt"], {}, "pt") == "en"
