"""Front matter: ``key: value`` lines between two ``---`` lines at the very top of a document."""

from datetime import date

from mailer.domain.document.model import DocumentError

KEYS = ("subject", "preheader", "number", "date", "language")


def read_front_matter(lines: list[str]) -> tuple[dict[str, str], int]:
    """The values as written, without a pair of quotes around them, and how many lines the front matter
    takes (0 if there is none).

    Raises ``DocumentError`` naming the line for a key that is not in ``KEYS``, a key that comes twice, a
    line that is no ``key: value``, a date that is none, and front matter that never closes: none of it is
    dropped in silence.
    """
    if len(lines) < 2 or lines[0].rstrip() != "---" or _key(lines[1]) is None:
        return {}, 0
    if not any(line.rstrip() == "---" for line in lines[1:]):
        raise DocumentError("The lines at the top begin with “---” in line 1, but no “---” line closes them.")
    values: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == "---":
            break
        if not line.strip():
            continue
        key = _key(line)
        if key is None:
            raise DocumentError(
                f"Line {number} is not of the form “key: value”, as each line between the two “---” lines is."
            )
        if key not in KEYS:
            raise DocumentError(f"Line {number} gives “{key}”, which is not one of {', '.join(KEYS)}.")
        if key in values:
            raise DocumentError(f"Line {number} gives “{key}” a second time.")
        values[key] = _unquoted(line.partition(":")[2].strip())
        if key == "date" and values[key] and not _is_date(values[key]):
            raise DocumentError(f"Line {number} gives the date “{values[key]}”; write it as 2026-09-30.")
    return values, number


def _is_date(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


def _unquoted(value: str) -> str:
    quote = value[:1]
    paired = len(value) > 1 and quote in ("'", '"') and value.endswith(quote) and quote not in value[1:-1]
    return value[1:-1] if paired else value


def _key(line: str) -> str | None:
    key, colon, _ = line.partition(":")
    key = key.strip()
    return key.lower() if colon and key.replace("-", "").replace("_", "").isalnum() else None
