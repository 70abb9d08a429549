"""Composing all editions of one issue against mjml-python's own time for the same documents.

Compose is what ``services.issues.compile.render_stale`` computes for each edition: HTML, the text part, the page of
the web view, and the compiled message with its headers and slots, in a worker that has its templates but has
not seen the issue. ``ratio`` compares the processor time of that, without reading and writing rows, with
``mjml2html`` for each edition's final MJML; ``stored_milliseconds`` is an edition from its unrendered row in
PostgreSQL to the rendered one.

    .venv/bin/python bench/compose.py [--languages 18] [--masks 63] [--json FILE]
"""

import argparse
import time
from dataclasses import replace

import harness
from mjml import mjml2html
from sqlalchemy import text

from mailer.adapters.variants import VariantDocument
from mailer.bootstrap import Container
from mailer.domain.content import EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.services.issues import compile
from workers.pipeline import EDITIONS_PER_TRANSACTION

_INSERT_EDITIONS = """
INSERT INTO edition
    (issue_id, language, sections, revision, subject, story_count, fallback_count, html, message, slots)
SELECT :issue, language, sections, 0, '', 0, 0, '', '', '[]'
FROM unnest(CAST(:languages AS text[]), CAST(:masks AS bigint[])) AS wanted (language, sections)
"""


def baseline(app: Container, source: compile.IssueSource, language: str, masks: list[int]) -> float:
    """Seconds that mjml-python takes for the MJML of these editions, one document each."""
    keys = {section.bit: section.key for section in source.sections}
    page = app.urls.page_url
    links = EditionUrls(page("view"), page("preferences"), page("unsubscribe"), source.website)
    content = source.compose(language, ALL_SECTIONS, links, "A Reader", "reader@example.org")
    rendered, mjml = app.renderer.render_language(content), VariantDocument(app.renderer.mjml_source(content))
    cut = [
        mjml.select(rendered.visible_parts({key for bit, key in keys.items() if mask >> bit & 1})[0])
        for mask in masks
    ]
    began = time.process_time()
    for document in cut:
        mjml2html(document, fonts={})
    return time.process_time() - began


def time_compile(compiler: compile.EditionCompiler, language: str, masks: list[int]) -> float:
    """Seconds that the service takes to compose them."""
    began = time.process_time()
    for edition, mask in enumerate(masks):
        compiler.compile_edition(edition, language, mask).message.serialize()
    return time.process_time() - began


def time_render_stored(app: Container, issue: int, wanted: list[tuple[str, int]]) -> float:
    """Seconds from unrendered rows of editions to rendered ones, as a worker does it."""
    with app.database.transaction() as session:
        languages, masks = zip(*wanted, strict=True)
        values = {"issue": issue, "languages": list(languages), "masks": list(masks)}
        session.execute(text(_INSERT_EDITIONS), values)
    began = time.perf_counter()
    compile.render_stale(app.database, app.renderer, app.urls, "", issue, EDITIONS_PER_TRANSACTION)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--languages", type=int, default=18)
    parser.add_argument("--masks", type=int, default=63, help="different choices of sections")
    parser.add_argument("--json")
    asked = parser.parse_args()
    found = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    languages = sorted(found, key=lambda tag: tag != "en")[: asked.languages]
    with harness.service() as app:
        issue = harness.make_issue(app, *languages)
        source = compile.load_issue(app.database, app.urls, issue)
        empty = source.compose(languages[0], 0, EditionUrls(""))
        app.renderer.render_language(replace(empty, intro=""))  # loads the templates
        compiler = compile.EditionCompiler(source, app.renderer, app.urls, "")
        wanted: list[tuple[str, int]] = []
        seconds = own = 0.0
        for language in languages:  # in turn, so that both meet the same machine
            shown = source.sections_shown(language)
            masks = [mask for mask in range(1, asked.masks + 1) if mask & shown == mask]
            seconds += time_compile(compiler, language, masks)
            own += baseline(app, source, language, masks)
            wanted += [(language, mask) for mask in masks]
        whole = time_render_stored(app, issue, wanted)
    figures = {
        "ratio": round(seconds / own, 2),
        "compose_milliseconds": round(seconds / len(wanted) * 1000, 3),
        "mjml_milliseconds": round(own / len(wanted) * 1000, 3),
        "stored_milliseconds": round(whole / len(wanted) * 1000, 3),
        "editions": len(wanted),
        "languages": len(languages),
    }
    harness.report(figures, "Composing against mjml-python", asked.json)


if __name__ == "__main__":
    main()
