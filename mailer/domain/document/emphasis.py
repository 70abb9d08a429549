"""Bold text at the start of a paragraph, to which converters turn headings and datelines."""


def bold_runs(text: str) -> tuple[list[str], str]:
    """Return the bold runs at the start of the text, ignoring white space between them, and the rest.

    ``**A****B** c`` gives ``["A", "B"]`` and ``" c"``. Linear in the length of the text.
    """
    runs: list[str] = []
    at, size = 0, len(text)
    while True:
        start = at
        while start < size and text[start].isspace():
            start += 1
        mark = text[start : start + 1]
        if mark not in ("*", "_") or text[start + 1 : start + 2] != mark:
            return runs, text[at:]
        width = _marker_length(text, start, mark)
        if width >= 4:
            at = start + width - width % 4  # empty bold runs
            continue
        close = _find_closing(text, start + width, mark * width)
        if close < 0:
            return runs, text[at:]
        inner = text[start + width : close].strip()
        if inner:
            runs.append(inner)
        at = close + width


def bold_only(text: str) -> bool:
    """Return whether the text consists of bold runs only."""
    runs, rest = bold_runs(text)
    return bool(runs) and not rest.strip()


def _find_closing(text: str, start: int, mark: str) -> int:
    close = text.find(mark, start)
    while close > 0 and text[close - 1] == "\\":
        close = text.find(mark, close + 1)
    if close >= 0 and len(mark) == 2 and _marker_length(text, close, mark[0]) in (3, 5):
        close += 1  # the first mark closes an italic run inside
    return close


def _marker_length(text: str, start: int, mark: str) -> int:
    """Return how often the mark is repeated, at most 2,000."""
    width = 0
    while width < 2000 and text.startswith(mark, start + width):
        width += 1
    return width
