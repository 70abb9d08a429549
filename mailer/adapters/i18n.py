"""The words of the mail and the public pages in every language: gettext catalogues.

The ``.po`` files in ``templates/locales/<tag>/LC_MESSAGES/`` are read as they are, so that a translator's
change needs no build step. A language without a catalogue, and a message without a translation, speak
English. A newsletter's own words stand in where they fit.
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
"""What the comment for translators of such a phrase says."""
_FORMS = ("zero", "one", "two", "few", "many", "other")
_Overrides = tuple[tuple[str, str | tuple[str, ...]], ...]


class Catalogues:
    """The catalogues in one folder. Each is read once, when its language is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._cached_translations = lru_cache(maxsize=512)(self._build_translations)

    def translations(self, language: str, overrides: Mapping[str, OverrideText] | None = None) -> Translations:
        """The catalogue for a BCP 47 tag: its own, else that of a wider tag (``fr`` for ``fr-CH``), else
        one that leaves every message in English. A broken file raises
        ``babel.messages.pofile.PoFileError``.

        ``own``: a newsletter's words for some phrases in this language. One that does not fit, say because
        the phrase has changed since, is passed over.
        """
        given = (overrides or {}).items()
        with self._lock:
            return self._cached_translations(
                language,
                tuple((text, words if isinstance(words, str) else tuple(words)) for text, words in given),
            )

    @cached_property
    def messages(self) -> dict[str, CatalogueMessage]:
        """Every phrase that the mail and the pages say, by its English text; none where there is no list."""
        path = self._folder / "messages.pot"
        if not path.is_file():
            return {}
        with path.open("rb") as source:
            template = read_po(source, abort_invalid=True)
        found = {}
        for message in template:
            text, plural = (message.id, "") if isinstance(message.id, str) else message.id
            found[text] = CatalogueMessage(text, plural, _PLACEHOLDER_LAST_COMMENT in " ".join(message.auto_comments))
        return {text: phrase for text, phrase in found.items() if text}

    def override_errors(self, overrides: TextOverrides) -> Iterator[str]:
        """One line for each of a newsletter's own words that cannot be used, for a coordinator."""
        return override_errors(overrides, self.messages, lambda language: self._load_catalogue(language).num_plurals)

    def _build_translations(self, language: str, overrides: _Overrides) -> Translations:
        catalogue = self._load_catalogue(language)
        for text, words in overrides:
            phrase = self.messages.get(text)
            form = words if isinstance(words, str) else list(words)
            if phrase and not override_error(phrase, form, catalogue.num_plurals):
                catalogue.delete(text)
                catalogue.add((phrase.text, phrase.plural) if phrase.plural else text, words)
        if not len(catalogue):
            return Translations()
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        return Translations(compiled)

    def _load_catalogue(self, language: str) -> Catalog:
        """The nearest catalogue's messages; none for a language without one."""
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
    """The plural forms that whole numbers take, in the order of CLDR, as a catalogue's header says them. Babel's
    own table for gettext differs from its CLDR in some languages, such as Macedonian (21 is singular there)."""
    rule = locale.plural_form
    taken = {rule(number) for number in range(1001)}  # larger ones take no other form, but for whole millions
    *forms, _ = [form for form in _FORMS if form in taken]
    return to_gettext(PluralRule({form: rule.rules[form] for form in forms}))


def install_gettext(environment: Environment) -> None:
    """Have templates translate by the ``catalogue`` in their context."""
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
