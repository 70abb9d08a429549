"""Gettext catalogues with the texts of emails and pages in every language.

The ``.po`` files in ``templates/locales/<tag>/LC_MESSAGES/`` are read directly, so that a translator's change needs
no build step. If a language has no catalogue or a message no translation, English is used. A newsletter can replace
messages by its own texts.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.plural import PluralRule, to_gettext
from babel.support import Translations
from jinja2 import Environment, pass_context
from jinja2.runtime import Context
from markupsafe import escape

from mailer.domain.locales import tag_and_parents
from mailer.domain.text_overrides import (
    CatalogueMessage,
    OverrideText,
    TextOverrides,
    override_error,
    override_errors,
)

_PLACEHOLDER_LAST_COMMENT = "must stay the very last thing in the line"
"""Part of the comment for translators of a message whose placeholder must come last."""
_FORMS = ("zero", "one", "two", "few", "many", "other")
_Overrides = tuple[tuple[str, str | tuple[str, ...]], ...]


class Catalogues:
    """The catalogues in one folder. Each is read once, when its language is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._cached_translations = lru_cache(maxsize=512)(self._build_translations)

    def translations(self, language: str, overrides: Mapping[str, OverrideText] | None = None) -> Translations:
        """Return the catalogue for a BCP 47 tag, else that of a parent tag (``fr`` for ``fr-CH``), else English.

        ``overrides`` are a newsletter's replacements for messages in this language. An invalid one, for instance of a
        message that has changed since, is ignored. Raises babel.messages.pofile.PoFileError for a broken file.
        """
        replacements = (overrides or {}).items()
        with self._lock:
            return self._cached_translations(
                language,
                tuple((text, words if isinstance(words, str) else tuple(words)) for text, words in replacements),
            )

    @cached_property
    def messages(self) -> dict[str, CatalogueMessage]:
        """Every message of emails and pages, by its English text. Empty if there is no ``messages.pot``."""
        path = self._folder / "messages.pot"
        if not path.is_file():
            return {}
        with path.open("rb") as source:
            template = read_po(source, abort_invalid=True)
        messages = {}
        for message in template:
            text, plural = (message.id, "") if isinstance(message.id, str) else message.id
            if text:
                placeholder_last = _PLACEHOLDER_LAST_COMMENT in " ".join(message.auto_comments)
                messages[text] = CatalogueMessage(text, plural, placeholder_last)
        return messages

    def override_errors(self, overrides: TextOverrides) -> Iterator[tuple[str, str, str]]:
        """Yield (language, text, what is wrong) for each invalid replacement."""
        return override_errors(overrides, self.messages, lambda language: self._load_catalogue(language).num_plurals)

    def usual_forms(self, language: str, text: str) -> tuple[str, ...]:
        """Return a message's text in a language, or each of its plural forms; English where it has no translation."""
        message, catalogue = self.messages[text], self._load_catalogue(language)
        found = catalogue.get(text)
        string = (found and found.string) or ""
        forms = [string] if isinstance(string, str) else list(string)
        usual = (message.text, message.plural or message.text)
        count = catalogue.num_plurals if message.plural else 1
        return tuple((forms[at] if at < len(forms) else "") or usual[at > 0] for at in range(count))

    def _build_translations(self, language: str, overrides: _Overrides) -> Translations:
        catalogue = self._load_catalogue(language)
        for text, words in overrides:
            message = self.messages.get(text)
            override = words if isinstance(words, str) else list(words)
            if message and not override_error(message, override, catalogue.num_plurals):
                catalogue.delete(text)
                catalogue.add((message.text, message.plural) if message.plural else text, words)
        if not len(catalogue):
            return Translations()
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        return Translations(compiled)

    def _load_catalogue(self, language: str) -> Catalog:
        """Return the nearest catalogue, or an empty one for a language without a catalogue."""
        for tag in tag_and_parents(language):
            path = self._folder / tag.replace("-", "_") / "LC_MESSAGES" / "messages.po"
            if path.is_file():
                with path.open("rb") as source:
                    return read_po(source, locale=tag.replace("-", "_"), abort_invalid=True)
        for tag in tag_and_parents(language):
            try:
                plurals = _plurals(Locale.parse(tag, sep="-"))
            except UnknownLocaleError:
                continue
            catalogue = Catalog(tag.replace("-", "_"), charset="utf-8")
            catalogue.mime_headers = [("Plural-Forms", plurals)]
            return catalogue
        return Catalog("en", charset="utf-8")


def _plurals(locale: Locale) -> str:
    """Return the ``Plural-Forms`` header for integers, with the forms in the order of CLDR.

    Babel's own table for gettext differs from CLDR in some languages, such as Macedonian (where 21 is singular).
    """
    rule = locale.plural_form
    used = {rule(number) for number in range(1001)}  # only whole millions have other forms
    *forms, _ = [form for form in _FORMS if form in used]
    return to_gettext(PluralRule({form: rule.rules[form] for form in forms}))


def install_gettext(environment: Environment) -> None:
    """Make templates translate with the ``catalogue`` in their context."""
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        _gettext, _ngettext, newstyle=True
    )


@pass_context
def _gettext(context: Context, message: str) -> str:
    text: str = context["catalogue"].gettext(message)
    return escape(text) if context.eval_ctx.autoescape else text


@pass_context
def _ngettext(context: Context, singular: str, plural: str, number: int) -> str:
    text: str = context["catalogue"].ngettext(singular, plural, number)
    return escape(text) if context.eval_ctx.autoescape else text
