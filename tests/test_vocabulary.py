"""Words that docs/glossary.md replaced do not come back as names in code, templates or tables."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from mailer.models import Base
from mailer.settings import ROOT, Settings

RETIRED = {
    "tie": "subscription, SubscriptionRef",
    "gate": "TrafficShaper",
    "leave": "SendPermit; unsubscribe",
    "note": "TransactionalEmail",
    "settle": "resolve",
    "hand_out": "enqueue",
    "hand_over": "transfer",
    "handover": "transfer",
    "hint": "enqueue, message, advice",
    "readdress": "change_address",
    "reader": "subscriber",
    "outbox": "SmtpPool",
    "telemetry": "metrics",
    "verdict": "DeliveryUpdate, BatchAbort",
    "ruling": "Decision",
    "tally": "ChunkStats",
    "destination": "provider, domain",
    "phrase": "text_override, message",
    "misfit": "override_error",
    "masthead": "header_image",
    "upkeep": "maintenance",
    "presence": "heartbeat",
    "shut": "open (breaker), blocked",
    "aim": "target_rate",
    "former": "previous",
    "sweep": "retention_run",
    "told": "the noun of the thing",
    "said": "the noun of the thing",
    "spoken": "language",
    "fall_back": "fallback",
    "leave_out": "omit",
    "send_again": "resend",
    "give_up": "queue_lifetime",
    "landing": "result",
    "landed": "result",
}
"""Retired word → replacement. Its plural and past tense are retired too."""

ALLOWED = {
    "ContactNote",  # the line of a story that names a contact
    "note",  # what someone wrote beside a reason
    "resolution_note",
    "ReplyReader",  # reads a stream
    "_reader",  # asyncio.StreamReader
}
"""Names that use a retired word in another, correct sense."""
ALLOWED_PHRASES = {"contact_note"}
CODE = sorted(path for room in ("mailer", "workers") for path in (ROOT / room).rglob("*.py"))
TEMPLATES = sorted(
    path for path in (ROOT / "templates").rglob("*.*") if path.suffix in {".html", ".mjml", ".txt", ".xml"}
)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


@cache
def retired_words(name: str) -> list[str]:
    """Return the retired words in a name: whole words in snake_case or CamelCase."""
    if name in ALLOWED:
        return []
    text = snake_case(name)
    for phrase in ALLOWED_PHRASES:
        text = re.sub(rf"(?<![a-z]){phrase}s?(?![a-z])", "", text)
    return [word for word, pattern in PATTERNS.items() if pattern.search(text)]


PATTERNS = {word: re.compile(rf"(?<![a-z]){word}(s|d|ed)?(?![a-z])") for word in RETIRED} | {
    "settle": re.compile(r"(?<![a-z])settl(e|es|ed|ing|ement)(?![a-z])"),
    "leave": re.compile(r"(?<![a-z])leav(e|es|ing)(?![a-z])"),
}


def python_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield names that others can refer to, with their lines: no local variables."""
    scopes: list[ast.AST] = [tree]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        if isinstance(node, ast.ClassDef):
            scopes.append(node)
        elif isinstance(node, ast.arg):
            if node.annotation is not None and "StreamReader" in ast.unparse(node.annotation):
                continue  # asyncio's own word
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
    for scope in scopes:
        for statement in scope.body:  # type: ignore[attr-defined]
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            if isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        yield name.id, name.lineno


def found_in(names: Iterable[tuple[str, int]], path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {name}: instead of “{word}” say {RETIRED[word]}"
        for name, line in names
        for word in retired_words(name)
    ]


def test_no_name_in_the_code_is_retired() -> None:
    found = [
        problem
        for path in CODE
        for problem in found_in([(path.stem, 1), *python_names(ast.parse(path.read_text("utf-8")))], path)
    ]
    assert not found, "\n".join(found)


def test_no_variable_in_a_template_is_retired() -> None:
    environment = Environment(extensions=["jinja2.ext.i18n", "jinja2.ext.do"], autoescape=True)
    found = []
    for path in TEMPLATES:
        tree = environment.parse(path.read_text("utf-8"))
        names = [(node.name, node.lineno) for node in tree.find_all(nodes.Name)]
        names += [(node.attr, node.lineno) for node in tree.find_all(nodes.Getattr)]
        names += [(node.name, node.lineno) for node in tree.find_all(nodes.Macro)]
        found += found_in([(path.stem, 1), *names], path)
    assert not found, "\n".join(found)


def test_no_table_column_or_setting_is_retired() -> None:
    names = [table.name for table in Base.metadata.tables.values()]
    names += [column.name for table in Base.metadata.tables.values() for column in table.columns]
    names += list(Settings.model_fields)
    assert [name for name in names if retired_words(name)] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Gate", ["gate"]),
        ("hinted_at", ["hint"]),
        ("hand_out_due", ["hand_out"]),
        ("_settling", ["settle"]),
        ("notes_of", ["note"]),
        ("subscription_tie", ["tie"]),
        ("contact_notes", []),
        ("aggregate", []),
        ("identities", []),
        ("spreadsheet_reader", ["reader"]),
    ],
)
def test_a_retired_word_is_found_as_a_whole_word(name: str, words: list[str]) -> None:
    assert retired_words(name) == words


def test_the_glossary_explains_no_term_twice() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    terms = [term for term, _, _ in rows if term != "term"]
    assert len(terms) == len(set(terms)) > 100
    assert [term for term, meaning, _ in rows if meaning != "meaning" and not meaning.endswith(".")] == []
