"""Numbers with their nouns, in English. Texts for readers use the plural forms of the catalogues."""


def format_count(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 reader``, ``2,000 readers``. The default plural adds an s."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
