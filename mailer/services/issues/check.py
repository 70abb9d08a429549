"""Checks an issue before its approval: its findings, and who would get what."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.audience import Audience, AudienceGroup
from mailer.domain.composition import IssueSource, StoryText
from mailer.domain.findings import Finding
from mailer.domain.issue_check import check_issue
from mailer.domain.mentions import count_words
from mailer.domain.network_checks import NetworkChecks
from mailer.services.issues.compile import EditionCompiler


@dataclass(frozen=True, slots=True)
class EditionRow:
    """An edition that some readers would get. ``html_bytes`` is 0 if it cannot be rendered."""

    language: str
    sections: tuple[str, ...]
    """The keys of its sections."""
    subscribers: int
    html_bytes: int


@dataclass(frozen=True, slots=True)
class LanguageRow:
    """A language of the issue. ``stories`` and ``words`` count what is written in it."""

    language: str
    subscribers: int
    editions: int
    stories: int
    words: int
    max_html_bytes: int


@dataclass(frozen=True, slots=True)
class IssueCheck:
    """The result of a check."""

    findings: Sequence[Finding]
    languages: Sequence[LanguageRow]
    editions: Sequence[EditionRow]
    """The ones with most readers first."""
    audience: Audience


def check(
    source: IssueSource,
    compiler: EditionCompiler,
    audience: Sequence[AudienceGroup],
    read_language: str = "",
    network: NetworkChecks | None = None,
) -> IssueCheck:
    """Check an issue for this audience, and render every edition of it. The network is not used.

    Stories are named in ``read_language``, or in the newsletter's default language.
    """
    languages = source.language_rules.languages
    errors = {language: compiler.render_errors(language) for language in languages}
    counted = Audience.of(audience)
    sizes = {key: compiler.html_bytes(*key) for key in counted.editions if not errors[key[0]]}
    findings = check_issue(
        source,
        render_errors=list(dict.fromkeys(error for found in errors.values() for error in found)),
        audience=audience,
        html_sizes=sizes,
        read_language=read_language,
        network=network,
    )
    editions = [
        EditionRow(
            language,
            tuple(section.key for section in source.sections if mask >> section.bit & 1),
            count,
            sizes.get((language, mask), 0),
        )
        for (language, mask), count in counted.editions.most_common()
    ]
    rows = [_language_row(source, language, editions) for language in languages]
    return IssueCheck(findings, rows, editions, counted)


def _language_row(source: IssueSource, language: str, all_editions: Sequence[EditionRow]) -> LanguageRow:
    editions = [row for row in all_editions if row.language == language]
    front = source.front_matter[language]
    texts = [story.texts[language] for story in source.stories if language in story.texts]
    return LanguageRow(
        language,
        sum(row.subscribers for row in editions),
        len(editions),
        len(texts),
        count_words(front.subject) + count_words(front.intro) + sum(map(_story_words, texts)),
        max((row.html_bytes for row in editions), default=0),
    )


def _story_words(text: StoryText) -> int:
    datelines = (line.text for line in text.datelines)
    return sum(
        map(
            count_words,
            (text.headline, text.body, text.alt, text.picture_credit, text.link_label, *datelines, *text.contacts),
        )
    )
