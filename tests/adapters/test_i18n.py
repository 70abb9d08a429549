"""The catalogues: where they are found, and that they fit the templates."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.messages.extract import extract_from_file
from babel.messages.pofile import PoFileError, read_po

from mailer.adapters.i18n import Catalogues
from mailer.domain.text_overrides import OverrideText
from mailer.domain.transactional import STAFF_KINDS

TEMPLATES = Path(__file__).parents[2] / "templates"
HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Plural-Forms: {}\\n"\n\n'
SERBIAN = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"


def write(folder: Path, tag: str, words: str, plural: str = "nplurals=2; plural=(n != 1);") -> None:
    path = folder / tag / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    path.write_text(HEADER.format(plural) + words, "utf-8")


def test_catalogue_is_found_by_its_tag_or_a_parent(tmp_path: Path) -> None:
    write(tmp_path, "sr_Cyrl", 'msgid "Unsubscribe"\nmsgstr "Одјава"\n', SERBIAN)
    catalogues = Catalogues(tmp_path)
    assert catalogues.translations("sr-Cyrl").gettext("Unsubscribe") == "Одјава"
    assert catalogues.translations("sr-Cyrl-RS").gettext("Unsubscribe") == "Одјава"
    assert catalogues.translations("sr-Latn").gettext("Unsubscribe") == "Unsubscribe"


def test_untranslated_text_is_english(tmp_path: Path) -> None:
    write(tmp_path, "fr", 'msgid "Unsubscribe"\nmsgstr ""\n\n#, fuzzy\nmsgid "Read more"\nmsgstr "Peut-être"\n')
    french = Catalogues(tmp_path).translations("fr")
    assert french.gettext("Unsubscribe") == "Unsubscribe"
    assert french.gettext("Read more") == "Read more"
    assert french.ngettext("%(num)d day", "%(num)d days", 1) == "%(num)d day"


def test_plurals_follow_the_language(tmp_path: Path) -> None:
    words = 'msgid "day"\nmsgid_plural "days"\nmsgstr[0] "дан"\nmsgstr[1] "дана"\nmsgstr[2] "данâ"\n'
    write(tmp_path, "sr_Cyrl", words, SERBIAN)
    serbian = Catalogues(tmp_path).translations("sr-Cyrl")
    assert [serbian.ngettext("day", "days", number) for number in (1, 3, 5, 21)] == [
        "дан",
        "дана",
        "данâ",
        "дан",
    ]


def test_broken_catalogue_and_path_as_tag_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "fr", "msgid unquoted\n")
    with pytest.raises(PoFileError):
        Catalogues(tmp_path).translations("fr")
    with pytest.raises(ValueError, match="not a language tag"):
        Catalogues(tmp_path).translations("../fr")


def messages_for_readers(folder: Path) -> set[str | tuple[str, ...]]:
    found: set[str | tuple[str, ...]] = set()
    for path in [*folder.rglob("*.mjml"), *folder.rglob("*.txt")]:
        if path.parent.name in STAFF_KINDS or path.stem == "text_request":
            continue  # their texts are in the catalogues for staff
        extracted = extract_from_file("jinja2", path, options={"newstyle_gettext": "true", "trimmed": "true"})
        found |= {message for _, message, _, _ in extracted}
    return found


def test_every_sentence_of_the_email_is_translatable() -> None:
    template = read_po(BytesIO((TEMPLATES / "locales" / "messages.pot").read_bytes()))
    listed = {message.id for message in template if message.id}
    assert messages_for_readers(TEMPLATES / "email") <= listed


@pytest.mark.parametrize("path", sorted((TEMPLATES / "locales").glob("*/LC_MESSAGES/messages.po")), ids=str)
def test_translations_keep_their_placeholders_and_the_readers_own_last(path: Path) -> None:
    with path.open("rb") as source:
        catalogue = read_po(source, locale=path.parts[-3], abort_invalid=True)
    for message in catalogue:
        ids = message.id if isinstance(message.id, tuple | list) else [message.id]
        words = message.string if isinstance(message.string, tuple | list) else [message.string]
        for sentence in filter(None, words if message.id else []):
            names = set(re.findall(r"%\((\w+)\)[sd]", sentence))
            assert names <= {name for one in ids for name in re.findall(r"%\((\w+)\)[sd]", one)}, sentence
            assert sentence.count("%") == len(re.findall(r"%\(\w+\)[sd]", sentence)), sentence
            if message.id in ("Dear %(name)s", "This email was sent to: %(address)s"):
                assert re.search(r" %\(\w+\)s$", sentence), sentence


COUNTED = "This issue has %(num)d more section that you do not follow: %(sections)s."


def test_text_overrides_replace_translations() -> None:
    own: dict[str, OverrideText] = {
        "Unsubscribe": "Je pars",
        COUNTED: ["un %(num)d %(sections)s", "des %(num)d %(sections)s"],
    }
    catalogues = Catalogues(TEMPLATES / "locales")
    french, usual = catalogues.translations("fr", own), catalogues.translations("fr")
    assert (french.gettext("Unsubscribe"), usual.gettext("Unsubscribe")) == ("Je pars", "Se désabonner")
    assert [french.ngettext(COUNTED, "", number)[:3] for number in (1, 2)] == ["un ", "des"]
    assert french.gettext("Read more") == usual.gettext("Read more")


def test_invalid_text_overrides_are_ignored() -> None:
    own: dict[str, OverrideText] = {
        "Unsubscribe": "Leave %(nothing)s",
        "No such phrase": "x",
        COUNTED: ["one form"],
    }
    catalogues = Catalogues(TEMPLATES / "locales")
    assert catalogues.translations("fr", own).gettext("Unsubscribe") == "Se désabonner"
    assert catalogues.translations("fr", own).gettext("No such phrase") == "No such phrase"
    assert len(list(catalogues.override_errors({"fr": own}))) == 3


def test_a_language_without_a_catalogue_has_the_plurals_of_cldr() -> None:
    own: dict[str, OverrideText] = {COUNTED: [f"{form} %(num)d %(sections)s" for form in ("one", "few", "many")]}
    polish = Catalogues(TEMPLATES / "locales").translations("pl", own)
    assert [polish.ngettext(COUNTED, "", number).split()[0] for number in (1, 3, 5, 22)] == [
        "one",
        "few",
        "many",
        "few",
    ]
    single: dict[str, OverrideText] = {COUNTED: ["%(num)d %(sections)s"]}
    assert not list(Catalogues(TEMPLATES / "locales").override_errors({"ja": single}))


@pytest.mark.parametrize("tag", sorted({tag.partition("_")[0] for tag in locale_identifiers()}))
def test_text_overrides_can_have_plural_forms_in_every_language(tag: str, tmp_path: Path) -> None:
    """Whatever CLDR's rule is: a catalogue's header can say it, and each number gets its form."""
    rule = Locale.parse(tag).plural_form
    forms = [form for form in ("zero", "one", "two", "few", "many", "other") if form in map(rule, range(1001))]
    (tmp_path / "messages.pot").write_text(
        HEADER.format("nplurals=2; plural=(n != 1);") + 'msgid "%(num)d"\nmsgid_plural "%(num)ds"\n'
        'msgstr[0] ""\nmsgstr[1] ""\n',
        "utf-8",
    )
    said = Catalogues(tmp_path).translations(tag, {"%(num)d": [f"{form} %(num)d" for form in forms]})
    for number in range(1001):
        assert said.ngettext("%(num)d", "", number).split()[0] == rule(number), number


def test_language_without_a_catalogue_can_have_text_overrides() -> None:
    own: dict[str, OverrideText] = {
        "Unsubscribe": "Disiscriviti",
        COUNTED: ["%(num)d %(sections)s", "%(num)d di %(sections)s"],
    }
    catalogues = Catalogues(TEMPLATES / "locales")
    italian = catalogues.translations("it", own)
    assert italian.gettext("Unsubscribe") == "Disiscriviti"
    assert italian.ngettext(COUNTED, "", 2) == "%(num)d di %(sections)s"
    assert italian.gettext("Read more") == "Read more"
    assert not list(catalogues.override_errors({"it": own}))
