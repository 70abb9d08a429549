"""The words of the mail and the public pages in every language: gettext catalogues.

The ``.po`` files in ``templates/locales/<tag>/LC_MESSAGES/`` are read as they are, so that a translator's
change needs no build step. A language without a catalogue, and a message without a translation, speak
English.
"""

from io import BytesIO
from pathlib import Path
from threading import Lock

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from mailer.domain.locales import widening


class Catalogues:
    """The catalogues in one folder. Each is read once, when its language is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Translations] = {}
        self._lock = Lock()

    def translations(self, language: str) -> Translations:
        """The catalogue for a BCP 47 tag: its own, else that of a wider tag (``fr`` for ``fr-CH``), else
        one that leaves every message in English. A broken file raises
        ``babel.messages.pofile.PoFileError``."""
        with self._lock:
            if language not in self._read:
                self._read[language] = self._load(language)
            return self._read[language]

    def _load(self, language: str) -> Translations:
        for tag in widening(language):
            path = self._folder / tag.replace("-", "_") / "LC_MESSAGES" / "messages.po"
            if path.is_file():
                with path.open("rb") as source:
                    catalogue = read_po(source, locale=tag.replace("-", "_"), abort_invalid=True)
                compiled = BytesIO()
                write_mo(compiled, catalogue)
                compiled.seek(0)
                return Translations(compiled)
        return Translations()
