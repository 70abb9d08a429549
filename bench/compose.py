"""Compare compiling all editions of an issue with mjml-python's time for the same documents.

Compiling is the work of ``services.issues.compile.render_stale`` for each edition: HTML, text part, web view and
the compiled message with its headers and slots, in a worker that has loaded its templates but not the issue.
``ratio`` is the processor time of that, without reading and writing rows, over ``mjml2html`` for the final MJML
of each edition. ``stored_milliseconds`` is the time from an edition's unrendered row in PostgreSQL to the
rendered one.

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
from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.services.issues import compile
from workers.pipeline import EDITIONS_PER_TRANSACTION

_INSERT_EDITIONS = """
INSERT INTO edition
    (issue_id, language, sections, revision, subject, story_count, fallback_count, html, message, slots)
SELECT :issue, language, sections, 0, '', 0, 0, '', '', '[]'
FROM unnest(CAST(:languages AS text[]), CAST(:masks AS bigint[])) AS editions (language, sections)
"""


def baseline(app: Container, source: IssueSource, language: str, masks: list[int]) -> float:
    """Return the seconds that mjml-python takes for the MJML documents of these editions."""
    keys = {section.bit: section.key for section in source.sections}
    page = app.urls.page_url
    links = EditionUrls(page("view"), page("preferences"), page("unsubscribe"), source.website)
    content = source.compose(language, ALL_SECTIONS, links, "A Reader", "reader@example.org")
    rendered, mjml = app.renderer.render_language(content), VariantDocument(app.renderer.mjml_source(content))
    documents = [
        mjml.select(rendered.visible_parts({key for bit, key in keys.items() if mask >> bit & 1})[0]) for mask in masks
    ]
    began = time.process_time()
    for document in documents:
        mjml2html(document, fonts={})
    return time.process_time() - began


def time_compile(compiler: compile.EditionCompiler, language: str, masks: list[int]) -> float:
    """Return the seconds that the service takes to compile these editions."""
    began = time.process_time()
    for edition, mask in enumerate(masks):
        compiler.compile_edition(f"http://mailer.test/w/{edition:022}", language, mask).message.serialize()
    return time.process_time() - began


def time_render_stored(app: Container, issue: int, editions: list[tuple[str, int]]) -> float:
    """Return the seconds from the editions' unrendered rows to rendered ones, as in a worker."""
    with app.database.transaction() as session:
        languages, masks = zip(*editions, strict=True)
        values = {"issue": issue, "languages": list(languages), "masks": list(masks)}
        session.execute(text(_INSERT_EDITIONS), values)
    began = time.perf_counter()
    compile.render_stale(app.database, app.renderer, app.urls, "", issue, EDITIONS_PER_TRANSACTION)
    return time.perf_counter() - began


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--languages", type=int, default=18)
    parser.add_argument("--masks", type=int, default=63, help="number of section masks")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    tags = sorted(path.name.split(".")[1] for path in harness.SAMPLE.glob("2026-3.*.md"))
    languages = sorted(tags, key=lambda tag: tag != "en")[: arguments.languages]
    with harness.service() as app:
        issue = harness.make_issue(app, *languages)
        source = compile.load_issue(app.database, app.urls, issue)
        empty = source.compose(languages[0], 0, EditionUrls(""))
        app.renderer.render_language(replace(empty, intro=""))  # loads the templates
        compiler = compile.EditionCompiler(source, app.renderer, app.urls, "")
        editions: list[tuple[str, int]] = []
        compile_seconds = mjml_seconds = 0.0
        for language in languages:  # alternating, so that changes of the machine affect both
            shown_sections = source.sections_shown(language)
            masks = [mask for mask in range(1, arguments.masks + 1) if mask & shown_sections == mask]
            compile_seconds += time_compile(compiler, language, masks)
            mjml_seconds += baseline(app, source, language, masks)
            editions += [(language, mask) for mask in masks]
        stored_seconds = time_render_stored(app, issue, editions)
    figures = {
        "ratio": round(compile_seconds / mjml_seconds, 2),
        "compose_milliseconds": round(compile_seconds / len(editions) * 1000, 3),
        "mjml_milliseconds": round(mjml_seconds / len(editions) * 1000, 3),
        "stored_milliseconds": round(stored_seconds / len(editions) * 1000, 3),
        "editions": len(editions),
        "languages": len(languages),
    }
    harness.report(figures, "Compiling editions, compared with mjml-python", arguments.json)


if __name__ == "__main__":
    main()
