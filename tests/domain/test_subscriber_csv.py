import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import choose_language
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.preferences import Preferences
from mailer.domain.section_parser import SectionNames, SectionParser
from mailer.domain.subscriber_csv import (
    COLUMNS,
    CsvSubscriber,
    CsvSubscribers,
    ImportRefused,
    RejectedRow,
    RowChoices,
    SubscriberCsv,
    escape_formula,
)
from mailer.domain.subscriber_fields import InvalidValue, read_address

SAMPLE = Path(__file__).parents[2] / "docs" / "sample"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
SECTIONS = [
    SectionNames("news", 0, {"en": "News", "fr": "Actualités"}),
    SectionNames("news-and-events", 1, {"en": "News and events", "de": "Nachrichten, Termine und Orte"}),
    SectionNames("water", 3, {"sr-Cyrl": "Вода и реке", "tr": "İçme suyu"}),
]
HEADER = "address,name,languages,sections,time_zone,consent_source,consent_date"


def entries(layout: SubscriberCsv, lines: Iterable[str], size: int = 7) -> list[CsvSubscriber | RejectedRow]:
    """What is found, line by line."""
    found: list[CsvSubscriber | RejectedRow] = []
    for good, bad in layout.read(lines, size):
        assert len(good) + len(bad) <= size
        found += good
        found += bad
    return sorted(found, key=lambda entry: entry.line)


def read(*lines: str, header: str = HEADER) -> list[CsvSubscriber | RejectedRow]:
    return entries(SubscriberCsv(iter([header + "\n"]), SECTIONS, NOW), (f"{line}\n" for line in lines))


def reader(line: str, header: str = HEADER) -> CsvSubscriber:
    (found,) = read(line, header=header)
    assert isinstance(found, CsvSubscriber), found
    return found


def reason(line: str, header: str = HEADER) -> str:
    (found,) = read(line, header=header)
    assert isinstance(found, RejectedRow), found
    return found.reason


def test_a_line_with_everything() -> None:
    who = "Ana.Uzorak@Readers.Example.ORG,Ana Uzorak,hr-HR en,water|news,Europe/Zagreb"
    assert reader(f"{who},web form,2024-02-29T10:00+02:00") == CsvSubscriber(
        2,
        "Ana.Uzorak@readers.example.org",
        "ana.uzorak@readers.example.org",
        "Ana Uzorak",
        RowChoices(
            Preferences(languages=("hr-HR", "en"), sections=0b1001, time_zone="Europe/Zagreb"),
            "web form",
            ("languages", "sections", "time_zone"),
        ),
        datetime(2024, 2, 29, 8, tzinfo=UTC),
    )


def test_missing_values_have_defaults() -> None:
    found = reader("a@example.org,form,2024-02-29", header="Email,Consent_Source,CONSENT_DATE")
    assert found.name == ""
    assert found.choices == RowChoices(Preferences(), "form")
    assert found.consented_at == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quoted", [(), (0,), (3,), (0, 1, 2, 3)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter: str, quoted: tuple[int, ...], mark: str) -> None:
    names = ["consent_date", "e-mail", "name", "consent_source"]
    header = mark + delimiter.join(f'"{name}"' if at in quoted else name for at, name in enumerate(names))
    line = delimiter.join(["2024-02-29", "a@example.org", '"Uzorak; Ana, | ""Kap"""', "form"])
    assert reader(line, header=header).name == 'Uzorak; Ana, | "Kap"'


@pytest.mark.parametrize(
    ("above", "delimiter"),
    [
        ([""], ","),
        (["", ";;;", "  "], ";"),
        (["sep=;"], ";"),
        (["\ufeffSEP=\t"], "\t"),
        (['"sep=^"'], "^"),
        (["Readers of the quarterly, exported 12.06.2025,,,", ",,,"], ","),
        (['"Readers, all of them";;;', "Email;;;", ""], ";"),
    ],
)
def test_lines_above_the_header_are_skipped_and_counted(above: list[str], delimiter: str) -> None:
    header = delimiter.join(["Email Address", "consent_source", "consent_date"])
    lines = iter([*above, header, delimiter.join(["a@example.org", "form", "2024-02-29"])])
    (found,) = entries(SubscriberCsv(lines, SECTIONS, NOW), lines)
    assert isinstance(found, CsvSubscriber), found
    assert (found.line, found.address) == (len(above) + 2, "a@example.org")


def test_a_header_is_looked_for_in_the_first_lines_only() -> None:
    lines = iter([*["a title"] * 20, "address,consent_source,consent_date", "a@example.org,form,2024-02-29"])
    with pytest.raises(ImportRefused, match="Column “a title” is not known"):
        SubscriberCsv(lines, SECTIONS, NOW)


@pytest.mark.parametrize(
    "name", ["Email", "E-Mail", "e_mail", "EMAIL ADDRESS", "E-mail-Address", "mail", "Mail address", "Address"]
)
def test_names_of_columns_are_read_as_people_write_them(name: str) -> None:
    header = f"{name},Language,Time Zone,Consent source,consent-date"
    found = reader("a@example.org,fr,Europe/Paris,form,2024-02-29", header=header)
    assert found.address == "a@example.org"
    assert found.choices.preferences == Preferences(languages=("fr",), time_zone="Europe/Paris")


def test_empty_columns_and_numbered_lines_of_other_programs() -> None:
    assert reader("a@example.org,form,2024-02-29,,", header="address,consent_source,consent_date,,").line == 2
    assert reader("a@example.org,form,2024-02-29", header="address,consent_source,consent_date,name,,").name == ""
    assert reader("a@example.org,,form,2024-02-29", header="address,,consent_source,consent_date").line == 2
    assert reader('"1","a@example.org","form","2024-02-29"', header='"","address","consent_source","consent_date"').line
    why = reason("a@example.org,x,form,2024-02-29", header="address,,consent_source,consent_date")
    assert why == "it has “x” in column 2, which has no name"
    why = reason("a@example.org,form,2024-02-29,x", header="address,consent_source,consent_date,")
    assert why == "it has 4 fields where the first line has 3"


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("", "The file is empty: its first line must name the columns."),
        ("\0\0\1", "The file is not text: save it as “CSV UTF-8”."),
        (HEADER + ",mood", "Column “mood” is not known. The columns are address, name, languages,"),
        (
            "Email,First Name,Last Name",
            "Columns “First Name”, “Last Name” are not known. There is no column consent_source and no column consent",
        ),
        (
            ",".join(f"c{n}" for n in range(5000)),
            "Columns “c0”, “c1”, “c2”, “c3”, “c4”, “c5”, “c6”, “c7”, “c8”, “c9” and",
        ),
        (HEADER + ",email", "There are two columns address. The columns are"),
        ("address,name", "There is no column consent_source and no column consent_date. The columns are"),
        ('address,"name', "The first line cannot be read: its quotation marks are not balanced."),
    ],
)
def test_invalid_header_refuses_the_file(header: str, sentence: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        SubscriberCsv(iter([header]), SECTIONS, NOW)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (",Ana,en,,,form,2024-01-01", "there is no address"),
        ("ana@,Ana,en,,,form,2024-01-01", "the address “ana@” is not valid: "),
        ("ana@example,Ana,en,,,form,2024-01-01", "the address “ana@example” is not valid: "),
        ("a@example.org,A\x07na,en,,,form,2024-01-01", "the name “A\ufffdna” contains a control character"),
        ("a@example.org,A\u202ena,en,,,form,2024-01-01", "the name “A\ufffdna” contains a control character"),
        (
            f"a@example.org,{'A' * 201},en,,,form,2024-01-01",
            "the name has 201 characters; at most 200 are allowed",
        ),
        ("a@example.org,Ana,klingonish,,,form,2024-01-01", "“klingonish” "),
        (f"a@example.org,Ana,{'en ' * 80},,,form,2024-01-01", "the list of languages has 239 characters"),
        (
            "a@example.org,Ana,en,news|fishing,,form,2024-01-01",
            "there is no section “fishing”; there is news, news-",
        ),
        ("a@example.org,Ana,en,newspapers,,form,2024-01-01", "there is no section “newspapers”"),
        ("a@example.org,Ana,en,,Europe/Aldeva,form,2024-01-01", "“Europe/Aldeva” is not a time zone such as"),
        ("a@example.org,Ana,en,,../../etc/passwd,form,2024-01-01", "“../../etc/passwd” is not a time zone"),
        ("a@example.org,Ana,en,,,,2024-01-01", "there is no consent_source: "),
        ("a@example.org,Ana,en,,,form,", "there is no consent_date: "),
        (
            "a@example.org,Ana,en,,,form,30.Sep.2024",
            "the consent_date “30.Sep.2024” is not in the form 2026-09-30",
        ),
        ("a@example.org,Ana,en,,,form,2026-10-02", "the consent_date “2026-10-02” is not valid"),
        ("a@example.org,Ana,en,,,form,1899-12-30", "the consent_date “1899-12-30” is not valid"),
        (
            "a@example.org,Ana,en,,,form,0001-01-01T00:00+14:00",
            "the consent_date “0001-01-01T00:00+14:00” is not",
        ),
        ("a@example.org,Uzorak, Ana,en,,,form,2024-01-01", "it has 8 fields where the first line has 7"),
        ('a@example.org,"Ana,en,,,form,2024-01-01', "its quotation marks are not balanced"),
    ],
)
def test_rejected_line_has_a_reason(line: str, why: str) -> None:
    assert reason(line).startswith(why)


def test_unclosed_quotation_mark_affects_only_its_line() -> None:
    found = read(
        'a@example.org,"Ana,en,,,form,2024-01-01',
        "b@example.org,Bo,en,,,form,2024-01-01",
        'c@example.org,"Ce",en,,,form,2024-01-01',
    )
    assert [type(entry) for entry in found] == [RejectedRow, CsvSubscriber, CsvSubscriber]


def test_a_line_break_in_a_cell_is_named_as_such() -> None:
    unbalanced = (
        "its quotation marks are not balanced, perhaps because of a line break in a cell; a line holds one reader"
    )
    found = read(
        'a@example.org,"Ana',
        "Marija",
        'Uzorak",en,,,form,2024-01-01',
        "b@example.org,Bo,en,,,form,2024-01-01",
        'c@example.org,"Ce,en,,,form,2024-01-01',
        "x",
    )
    assert [entry.reason if isinstance(entry, RejectedRow) else "" for entry in found] == [
        unbalanced,
        "it has 1 field where the first line has 7",
        "it belongs to line 2, where a cell has a line break; a line holds one reader",
        "",
        unbalanced,
        "it has 1 field where the first line has 7",
    ]


def test_duplicate_address_is_found_in_any_case() -> None:
    first, second, third = read(
        "Bo@EXAMPLE.org,Bo,en,,,form,2024-01-01",
        "bo@example.org,Bo,fr,,,form,2024-01-01",
        "b.o@example.org,Bo,fr,,,form,2024-01-01",
    )
    assert isinstance(first, CsvSubscriber)
    assert isinstance(third, CsvSubscriber)
    assert second == RejectedRow(
        3, "it repeats the address of line 2", ["bo@example.org", "Bo", "fr", "", "", "form", "2024-01-01"]
    )


def test_blank_lines_are_skipped_but_numbered() -> None:
    found = read("", ",,,,,,", "   ", ";", "x", "a@example.org,,,,,form,2024-01-01")
    assert [entry.line for entry in found] == [5, 6, 7]


def test_a_formula_is_only_a_name() -> None:
    assert reader("a@example.org,=cmd(),en,,,form,2024-01-01").name == "=cmd()"


@pytest.mark.parametrize(
    ("written", "mask"),
    [
        ("", ALL_SECTIONS),
        (";", ALL_SECTIONS),
        (" , |", ALL_SECTIONS),
        ("All", ALL_SECTIONS),
        ("water future", ALL_SECTIONS & ~0b11),
        ("none", 0),
        ("-", 0),
        ("water", 0b1000),
        ("water news-and-events", 0b1010),
        ("News and events | вода и реке", 0b1010),
        ("actualités;NEWS", 0b1),
        ("Nachrichten, Termine und Orte, News", 0b11),
        ("news  and   EVENTS,", 0b10),
        ("içme suyu", 0b1000),
        ("İçme suyu", 0b1000),
    ],
)
def test_sections_by_key_or_title(written: str, mask: int) -> None:
    assert SectionParser(SECTIONS).read(written) == mask


@given(
    st.lists(st.sampled_from([(name, s.bit) for s in SECTIONS for name in (s.key, *s.titles.values())]), min_size=1),
    st.sampled_from(["|", ";", ",", " | ", ", "]),
)
def test_any_list_of_known_sections_is_read(chosen: list[tuple[str, int]], separator: str) -> None:
    mask = sum({1 << bit for _, bit in chosen})
    assert SectionParser(SECTIONS).read(separator.join(name for name, _ in chosen)) == mask


@given(st.sets(st.sampled_from([0, 1, 3])), st.booleans())
def test_sections_are_written_as_they_are_read(bits: set[int], future: bool) -> None:
    mask = sum(1 << bit for bit in bits) + (ALL_SECTIONS & ~0b1011 if future else 0)
    sections = SectionParser(SECTIONS)
    assert sections.read(sections.write(mask)) == mask


def test_a_newsletter_without_sections() -> None:
    lists = SectionParser([])
    assert (lists.read(""), lists.read("none")) == (ALL_SECTIONS, 0)
    with pytest.raises(InvalidValue):
        lists.read("news")


@given(st.text())
def test_escaped_cell_is_not_a_formula_and_keeps_its_value(cell: str) -> None:
    shown = escape_formula(cell)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert shown in (cell, f"'{cell}")


def test_mending_rejected_lines_in_a_spreadsheet_comes_to_an_end() -> None:
    """Rejected lines keep their cells in their columns, however often they are rejected, and are never half read."""
    first = read('a@example.org,"Ana,en,,,form,2024-01-01', "b@example.org,Uzorak, Bo,en,,,form,2024-01-01")
    for rejected in first:
        assert isinstance(rejected, RejectedRow)
        cells = ['"' + cell.replace('"', '""') + '"' for cell in ("4", "why; so", *rejected.fields)]
        for end in ("", ";;;"):
            (again,) = read(";".join(cells) + end, header=f"line;reason;{HEADER.replace(',', ';')}")
            assert isinstance(again, RejectedRow)
            assert again.fields[: len(rejected.fields)] == rejected.fields
    assert isinstance(first[0], RejectedRow)
    assert first[0].fields == ["a@example.org", '"Ana', "en", "", "", "form", "2024-01-01"]
    header = f"\ufeffline;reason;{HEADER.replace(',', ';')}"
    assert reader("4;why;a@example.org;Ana;en;;;form;12.06.2025", header=header).name == "Ana"


def test_corrected_reject_file_can_be_imported() -> None:
    header = "line,reason," + HEADER
    layout = SubscriberCsv(iter([header]), SECTIONS, NOW)
    assert layout.columns == HEADER.split(",")
    found = entries(
        layout,
        [
            "7,there is no consent_source: …,'+a@example.org,'=cmd(),en,'-,,form,2024-01-01",
            "9,there is no consent_source: …,b@example.org,'Ndrangheta Uzorak,en,,,,2024-01-01",
        ],
    )
    mended, still_bad = found
    assert isinstance(mended, CsvSubscriber)
    assert isinstance(still_bad, RejectedRow)
    assert (mended.address, mended.name, mended.choices.preferences.sections) == (
        "+a@example.org",
        "=cmd()",
        0,
    )
    assert still_bad.fields == ["b@example.org", "'Ndrangheta Uzorak", "en", "", "", "", "2024-01-01"]


_CELL = st.one_of(
    st.sampled_from(
        ["a@example.org", "B@example.com", "en", "none", "UTC", "form", "2024-01-01", "", '"', '"a,b"', " "]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20),
)
_LINES = st.lists(st.lists(_CELL, max_size=9).map(",".join) | st.just("c@example.org,C,en,,,form,2024-01-01"))


@given(st.permutations(COLUMNS).map(",".join) | _CELL, _LINES)
def test_every_line_is_a_reader_a_rejection_or_blank(header: str, lines: list[str]) -> None:
    try:
        layout = SubscriberCsv(iter([header]), SECTIONS, NOW)
    except ImportRefused as refused:
        sentence = str(refused)
    else:
        sentence = ""
    if sentence:
        assert re.fullmatch(r"(?s)[A-Z].*\.", sentence)
        assert sentence.isprintable()
        return
    found = entries(layout, lines)
    numbers = [entry.line for entry in found]
    assert numbers == sorted(set(numbers))
    for number, line in enumerate(lines, start=2):
        assert number in numbers or not line.replace('"', "").replace(layout.delimiter, "").strip()
    taken = [entry for entry in found if isinstance(entry, CsvSubscriber)]
    assert len({entry.address_key for entry in taken}) == len(taken)
    assert all(
        "\0" not in text for entry in taken for text in (entry.address, entry.name, entry.choices.consent_source)
    )
    assert all(0 <= entry.choices.preferences.sections <= ALL_SECTIONS for entry in taken)


_GOOD = {
    "address": "ana@example.org",
    "name": "Ana",
    "languages": "en",
    "sections": "news",
    "time_zone": "UTC",
    "consent_source": "form",
    "consent_date": "2024-01-01",
    "reason": "'=mended",
}
_ODD = {
    "address": [
        f"{local}@{domain}"
        for local in [
            "Bo.K",
            "<bo",
            "mailto:bo",
            "Bo <bo",
            "a@example.org,b",
            "\u200bbo",
            "o'x",
            "ü",
            "a b",
            " bo",
            "",
            "a" * 64,
            "a" * 65,
            "x..y",
            '"a"',
            "a@b",
        ]
        for domain in [
            "example.org",
            "Example.ORG",
            "bücher.example.net",
            "x",
            "example.org ",
            "example.org;",
            "example.org>",
            "example.org\u200b",
            f"{'a.' * 93}org",
        ]
    ]
    + [f"{'b' * n}@{'a.' * 95}org" for n in (59, 60, 61)],
    "name": [
        "",
        " Bo ",
        "Ana\u200b",
        "Bo  K",
        "½",
        "-",
        "12",
        "#N/A",
        "Null",
        "nan",
        "Nan",
        "None of them",
        "J. R. Bo",
        "J.R. Bo",
        "Bo.",
        "bo.com",
        "www.bo",
        "bo/bo.bo/",
        "b@o",
        "'=Bo",
        "A\u0301na",
        "Số",
        'A"na',
        '"Ana"',
        "A\x07",
        "A\xa0na",
        "\xa0",
        "A\u202ena",
        "'=A",
        "\\N",
    ]
    + ["A" * 200, "A" * 201, " " * 201, "A" * 200 + " "],
    "languages": ["", "fr|en", '"en"', " en ", "klingonish"],
    "sections": ["none", "'-", ";", "all", "fishing", "news|water"],
    "consent_source": ["letter", "", "a,b"],
    "consent_date": [
        "2024-01-02T10:00:00.5+02:00",
        " 20240102 ",
        "",
        "30.01.2024",
        "12/06/2024",
        "2024-01-01\u200b",
        "2027-01-01",
        '"2024-01-01"',
    ],
}
_HEADERS = [
    HEADER,
    HEADER + ",line",
    HEADER.replace("languages", "reason,languages"),
    HEADER.replace(",", ";"),
    ",".join(COLUMNS[::-1]),
    "email,name,consent_source,consent_date",
]
_EACH = [{column: value} for column, values in _ODD.items() for value in values]


def both_ways(header: str, odd: list[dict[str, str]], size: int) -> tuple[object, object]:
    """What is read of lines that are odd in some cells, behind others from which domains are known: in the quick
    way and in the slow one."""
    delimiter = ";" if ";" in header else ","
    columns = header.replace("email", "address").split(delimiter)
    known = [{"address": f"{n}@{address.rpartition('@')[2]}"} for n, address in enumerate(_ODD["address"])]
    cells = known + [{"address": f"r{n}@example.org"} | line for n, line in enumerate(odd)]
    lines = [delimiter.join((_GOOD | line).get(column, "") for column in columns) + "\n" for line in cells]
    quick, slow = (SubscriberCsv(iter([header]), SECTIONS, NOW) for _ in range(2))
    slow._fast_path = False
    return entries(quick, lines, size), entries(slow, lines, size)


@pytest.mark.parametrize("header", _HEADERS)
def test_fast_path_agrees_on_unusual_lines(header: str) -> None:
    quick, slow = both_ways(header, _EACH * 2, 50)
    assert quick == slow


_LINE = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in _ODD.items()})


@given(st.sampled_from(_HEADERS), st.lists(_LINE, max_size=20), st.integers(1, 9))
def test_fast_path_agrees_on_any_lines(header: str, odd: list[dict[str, str]], size: int) -> None:
    quick, slow = both_ways(header, odd, size)
    assert quick == slow


def test_most_lines_use_the_fast_path() -> None:
    layout = SubscriberCsv(iter([HEADER]), SECTIONS, NOW)
    lines = [f"ana.{n}@Bücher.example.net,Số {n},en,news,,form,2024-01-0{1 + n % 3}" for n in range(90)]
    judged: list[int] = []
    for good, _ in layout.read(lines[:3], 3):
        judged += good.lines
    assert judged == [2, 3, 4]
    assert not list(layout._parse_fast_path(lines[3:], 5, CsvSubscribers()))


@pytest.fixture(scope="module")
def sample_readers() -> Iterator[list[CsvSubscriber | RejectedRow]]:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8"))
    names = [SectionNames(section.key, bit, section.titles) for bit, section in enumerate(settings.sections)]
    with (SAMPLE / "readers.csv").open(encoding="utf-8") as file:
        yield entries(SubscriberCsv(file, names, NOW), file, 100)


def test_the_sample_has_readers_of_every_language_and_every_kind(
    sample_readers: list[CsvSubscriber | RejectedRow],
) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8"))
    readers = [entry for entry in sample_readers if isinstance(entry, CsvSubscriber)]
    assert len(readers) == len(sample_readers) == 500
    chosen = [
        choose_language(
            r.choices.preferences.languages, settings.languages, settings.fallbacks, settings.default_language
        )
        for r in readers
    ]
    for language in settings.languages:
        assert sum(1 for c in chosen if c and c.language == language and c.reason == "asked") >= 12, language
    assert {0, ALL_SECTIONS} < {r.choices.preferences.sections for r in readers}
    assert {r.choices.preferences.sections.bit_count() for r in readers} >= {0, 1, 2, 3, 4}
    assert len({r.choices.preferences.time_zone for r in readers}) >= 12
    allowed = (".example.org", ".example.com", ".example.net")
    assert all(r.address.endswith(allowed) for r in readers)


def test_the_suppressed_of_the_sample_are_among_its_readers(
    sample_readers: list[CsvSubscriber | RejectedRow],
) -> None:
    keys = {entry.address_key for entry in sample_readers if isinstance(entry, CsvSubscriber)}
    suppressed = (SAMPLE / "suppressed.txt").read_text(encoding="utf-8").split()
    assert len(suppressed) == 6
    assert {read_address(address)[1] for address in suppressed} <= keys
