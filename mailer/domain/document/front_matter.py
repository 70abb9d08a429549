"""Front matter: ``key: value`` lines between two ``---`` lines at the start of a document."""

from datetime import date

from mailer.domain.document.model import DocumentError

KEYS = ("subject", "preheader", "number", "date", "language")


def read_front_matter(lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the values without enclosing quotes, and the number of lines of the front matter (0 if there is none).

    Raises DocumentError, with the line number, for a key that is unknown or duplicated, a line that is not of the form
    ``key: value``, an invalid date, and front matter without an end.
    """
    if len(lines) < 2 or lines[0].rstrip() != "---" or _key(lines[1]) is None:
        return {}, 0
    if not any(line.rstrip() == "---" for line in lines[1:]):
        raise DocumentError("The front matter begins with “---” in line 1, but there is no “---” line to end it.")
    values: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == "---":
            break
        if not line.strip():
            continue
        key = _key(line)
        if key is None:
            raise DocumentError(
                f"Line {number} is not of the form “key: value”, like each line between the two “---” lines."
            )
        if key not in KEYS:
            raise DocumentError(f"Line {number} has the key “{key}”, which is not one of {', '.join(KEYS)}.")
        if key in values:
            raise DocumentError(f"Line {number} has the key “{key}” a second time.")
        values[key] = _unquoted(line.partition(":")[2].strip())
        if key == "date" and values[key] and not _is_date(values[key]):
            raise DocumentError(f"Line {number} has the date “{values[key]}”; write dates as 2026-09-30.")
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
