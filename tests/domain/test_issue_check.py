"""The rules by which an issue is checked: kind, severity, languages, readers and places."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from mailer.domain.audience import AudienceGroup
from mailer.domain.composition import IssueSource, StorySource
from mailer.domain.editions import LanguageRules
from mailer.domain.findings import Finding, FindingKind, Part, Place, Severity
from mailer.domain.issue_check import check_issue
from mailer.domain.network_checks import LookupKind, LookupOutcome, LookupResult, NetworkChecks, StoredLookup
from mailer.domain.states import MissingTranslationPolicy, SkipReason
from tests.domain.test_composition import material, text


def issue(*stories: tuple[int, list[str]], languages: Sequence[str] = ("en", "bs", "ar")) -> IssueSource:
    """Return an issue with its section titles in every language; ``stories`` are section bits and languages."""
    source = material(list(stories))
    rules = replace(source.language_rules, languages=list(languages))
    sections = [replace(s, titles={tag: f"{s.key} {tag}" for tag in ("en", "bs", "ar")}) for s in source.sections]
    return replace(source, language_rules=rules, sections=sections)


def group(languages: str, edition: str | None, sections: int, readers: int) -> AudienceGroup:
    reason = None if edition else SkipReason.no_language
    return AudienceGroup(tuple(languages.split()), edition, sections, reason, readers)


def found(
    kind: FindingKind,
    source: IssueSource,
    *audience: AudienceGroup,
    sizes: Mapping[tuple[str, int], int] | None = None,
    read_language: str = "",
) -> list[Finding]:
    findings = check_issue(source, audience=audience, html_sizes=sizes, read_language=read_language)
    return [finding for finding in findings if finding.kind is kind]


ALL = ["en", "bs", "ar"]


def test_languages_of_readers_that_the_issue_lacks_are_named() -> None:
    source = issue((0, ["en", "bs"]), languages=["en", "bs"])
    audience = (
        group("sq en", "en", 1, 12),
        group("sq", None, 0, 2),
        group("hu", "bs", 1, 1),
        group("bs-Latn", "bs", 1, 5),
        group("", "en", 1, 3),
    )
    assert [(one.message, one.subscribers) for one in found(FindingKind.language_without_text, source, *audience)] == [
        ("14 readers prefer sq, in which the issue has no text: 12 will get it in en, 2 will get nothing.", 14),
        ("1 reader prefers hu, in which the issue has no text: 1 will get it in bs.", 1),
    ]


def test_editions_that_gmail_cuts_are_named_with_their_size() -> None:
    source = issue((0, ALL), (1, ALL))
    audience = (group("en", "en", 0b01, 4), group("en", "en", 0b11, 6), group("bs", "bs", 0b11, 1))
    sizes = {("en", 0b01): 102_000, ("en", 0b11): 102_001, ("bs", 0b11): 140_400}
    bosnian, english = found(FindingKind.clipped_by_gmail, source, *audience, sizes=sizes)
    assert english.message == (
        "en: Gmail will cut the edition with section-0, section-1: 102 kB of HTML, and it shows 102 (6 of 10 readers)."
    )
    assert (bosnian.languages, bosnian.sections, bosnian.subscribers) == (("bs",), 0b11, 1)
    assert "140 kB" in bosnian.message and bosnian.severity is Severity.warning


def test_sections_without_a_title_in_a_language_are_named() -> None:
    source = issue((0, ALL), (1, ALL))
    titles = {0: {"en": "News"}, 1: {"en": "Calls", "bs": "Pozivi", "ar": "دعوات"}, 2: {"en": "Unused"}}
    source = replace(source, sections=[replace(s, titles=titles[s.bit]) for s in source.sections])
    (finding,) = found(
        FindingKind.untitled_section,
        source,
        group("bs", "bs", 0b11, 2),
        group("bs", "bs", 0b10, 3),
        group("ar", "ar", 1, 1),
    )
    assert finding.message == (
        "bs, ar: the section section-0 has no title; its title in en will be shown, “News” (3 of 6 readers)."
    )
    assert [(place.part, place.section) for place in finding.places] == [(Part.section, "section-0")]


def test_section_that_readers_cannot_choose_is_named() -> None:
    source = issue((0, ALL), (1, ALL))
    source = replace(source, sections=[replace(s, offered=s.bit != 1) for s in source.sections])
    (finding,) = found(FindingKind.unoffered_section, source, group("en", "en", 0b11, 2), group("en", "en", 0b01, 3))
    assert finding.message == (
        "The section “section-1 en” is not offered to readers; those who follow every section get it (2 of 5 readers)."
    )


def about(source: IssueSource, part: str, words: str, headline: str) -> IssueSource:
    """Return the issue with a headline for its first story, and a text in English that speaks of it."""
    first = source.stories[0]
    story = replace(first, texts={**first.texts, "en": replace(first.texts["en"], headline=headline)})
    front = {**source.front_matter, "en": replace(source.front_matter["en"], **{part: words})}
    return replace(source, stories=[story, *source.stories[1:]], front_matter=front)


def test_subject_about_a_story_that_many_do_not_get_is_named() -> None:
    source = about(issue((0, ALL), (1, ALL)), "subject", "An electric ferry", "The ferry at Port Selin goes electric")
    few = (group("en", "en", 0b11, 81), group("en", "en", 0b10, 19), group("bs", "bs", 0b10, 50))
    assert found(FindingKind.absent_story, source, *few) == []
    many = (group("en", "en", 0b11, 80), group("en", "en", 0b10, 20))
    (finding,) = found(FindingKind.absent_story, source, *many)
    assert finding.message == (
        "en: the subject seems to speak of “The ferry at Port Selin goes electric”, which many readers do not get "
        "(20 of 100 readers)."
    )
    assert [place.part for place in finding.places] == [Part.subject, Part.story]
    assert found(FindingKind.absent_story, source) == [], "nobody is known to read it"
    other = about(issue((0, ALL), (1, ALL)), "intro", "We met old friends.", "The ferry at Port Selin goes electric")
    assert found(FindingKind.absent_story, other, *many) == []


def test_texts_of_partial_editions_are_checked_instead_of_those_of_the_whole_issue() -> None:
    source = about(issue((0, ALL), (1, ALL)), "subject", "An electric ferry", "The ferry at Port Selin goes electric")
    many = (group("en", "en", 0b11, 80), group("en", "en", 0b10, 20))

    def with_partial_subject(words: str) -> IssueSource:
        front = {**source.front_matter, "en": replace(source.front_matter["en"], partial_subject=words)}
        return replace(source, front_matter=front)

    assert found(FindingKind.absent_story, with_partial_subject("{headline} – 2026/3"), *many) == []
    assert found(FindingKind.absent_story, with_partial_subject("All of Port Selin electric"), *many)


def test_what_cannot_be_shown_in_texts_of_partial_editions_is_named() -> None:
    source = issue((0, ALL))
    texts = {"partial_subject": "{title}: {headline}", "partial_intro": "[here](nowhere)"}
    front = {**source.front_matter, "en": replace(source.front_matter["en"], **texts)}
    source = replace(source, front_matter=front)
    (unknown,) = found(FindingKind.not_shown, source)
    assert unknown.blocks and unknown.places == (Place(Part.subject),)
    assert unknown.message.startswith("en: {title} in the subject of partial editions means nothing")
    (broken,) = found(FindingKind.broken_link, source)
    assert "the introduction of partial editions" in broken.message


def test_stories_that_a_reader_could_read_in_another_language_are_named() -> None:
    source = issue((0, ["en", "ar"]), (1, ALL))
    own = found(
        FindingKind.other_language_readable, source, group("bs ar", "bs", 0b11, 4), group("bs en", "bs", 0b11, 9)
    )
    assert [finding.message for finding in own] == [
        "bs: 4 readers also read ar, but will not get these stories in it: Headline 0 en."
    ]
    assert found(FindingKind.other_language_readable, source, group("bs ar", "bs", 0b10, 4)) == []
    omitted = replace(
        source, language_rules=replace(source.language_rules, missing_translations=MissingTranslationPolicy.omit)
    )
    assert found(FindingKind.other_language_readable, omitted, group("bs en", "bs", 0b11, 9))


def test_stories_are_named_in_a_language_that_the_reader_of_the_check_reads() -> None:
    def named(source: IssueSource, read_language: str = "") -> str:
        (finding,) = found(FindingKind.missing_translation, source, read_language=read_language)
        return finding.places[0].title

    rules = LanguageRules(["fr", "bs"], {"bs": ["hr"]}, "en", MissingTranslationPolicy.fallback)

    def only(*languages: str) -> IssueSource:
        source = issue((0, ["en"]))
        story = StorySource(0, 0, {tag: text(tag, 0) for tag in languages}, None)
        front = dict.fromkeys(rules.languages, source.front_matter["en"])
        return replace(source, language_rules=rules, front_matter=front, stories=[story])

    assert named(only("ar", "bs", "en")) == "Headline 0 en"
    assert named(only("ar", "bs")) == "Headline 0 bs (bs)", "a language of the issue, not the first of the alphabet"
    assert named(only("ar", "fr"), "fr") == "Headline 0 fr"
    assert named(only("ar", "fr", "hr"), "bs") == "Headline 0 hr (hr)"


def test_what_is_the_same_in_several_languages_is_one_finding() -> None:
    source = issue((0, ALL))
    source = replace(source, front_matter={tag: replace(f, preheader="") for tag, f in source.front_matter.items()})
    (finding,) = found(FindingKind.empty_preheader, source)
    assert finding.languages == ("en", "bs", "ar")
    assert finding.message.startswith("en, bs, ar: the preheader is empty")


def test_blocking_findings_come_first() -> None:
    source = replace(issue((0, ["en"]), languages=["bs", "ar"]), postal_address=" ")
    severities = [finding.severity for finding in check_issue(source)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert severities[0] is Severity.blocks and len(set(severities)) == 3


def test_broken_links_block_and_name_their_place() -> None:
    source = issue((0, ALL))
    story = source.stories[0]
    body = replace(story.texts["bs"], body="[Ovdje](example.org) i fusnota[^1].\n\n[^1]: Ne zimi.")
    source = replace(source, stories=[replace(story, texts={**story.texts, "bs": body})])
    (broken,) = found(FindingKind.broken_link, source)
    assert (broken.severity, broken.languages) == (Severity.blocks, ("bs",))
    assert broken.message.startswith("bs: “Headline 0 bs”: The link “Ovdje” leads to “example.org”")
    assert [(place.part, place.story, place.title) for place in broken.places] == [(Part.story, 0, "Headline 0 en")]


def test_finding_says_how_many_editions_and_readers_it_concerns() -> None:
    source = issue((0, ["en", "bs"]), (1, ["en"]))
    first, second = source.stories
    broken = replace(second, texts={"en": replace(second.texts["en"], body="[here](nowhere)")})
    source = replace(source, stories=[first, broken], postal_address="")
    audience = (
        group("en", "en", 0b01, 5),
        group("en", "en", 0b11, 4),
        group("bs", "bs", 0b10, 2),
        group("bs", "bs", 0b01, 1),
    )
    (link,) = found(FindingKind.broken_link, source, *audience)
    assert (link.languages, link.editions, link.subscribers) == (("en",), 2, 6), "with those that show it in English"
    (address,) = found(FindingKind.no_postal_address, source, *audience)
    assert (address.editions, address.subscribers) == (4, 12)
    (untranslated,) = [
        one for one in found(FindingKind.missing_translation, source, *audience) if "bs" in one.languages
    ]
    assert untranslated.editions == 1
    (unread,) = found(FindingKind.no_postal_address, source)
    assert (unread.editions, unread.subscribers) == (None, None)


def test_editions_without_a_story_are_those_that_a_subject_about_it_concerns() -> None:
    source = about(issue((0, ALL), (1, ALL)), "subject", "An electric ferry", "The ferry at Port Selin goes electric")
    audience = (group("en", "en", 0b11, 80), group("en", "en", 0b10, 20), group("bs", "bs", 0b10, 9))
    (finding,) = found(FindingKind.absent_story, source, *audience)
    assert (finding.editions, finding.subscribers) == (1, 20)


def test_links_that_do_not_work_are_named_with_their_stories_and_editions() -> None:
    source = issue((0, ALL), (1, ["en"]), languages=["en", "bs"])
    gone, slow = "https://example.org/gone", "https://example.org/slow"
    first, second = source.stories
    body = f"[a]({gone}#top) and [b]({slow}), [c](mailto:ina@example.org) [d](mailto:ina@example)"
    first = replace(first, texts={**first.texts, "en": replace(first.texts["en"], body=body)})
    second = replace(second, texts={"en": replace(second.texts["en"], link=gone)})
    at = datetime(2026, 11, 29, tzinfo=UTC)
    network = NetworkChecks(
        results={
            (LookupKind.link, gone): StoredLookup(
                LookupResult(LookupOutcome.broken, "there is no such page (404)"), at
            ),
            (LookupKind.link, slow): StoredLookup(LookupResult(LookupOutcome.unclear, "no answer"), at),
            (LookupKind.spf, "example.org"): StoredLookup(LookupResult(LookupOutcome.broken, "no SPF."), at),
            (LookupKind.dkim, "example.org"): StoredLookup(LookupResult(LookupOutcome.works), at),
        }
    )
    source = replace(source, stories=[first, second])
    audience = (group("en", "en", 0b01, 5), group("bs", "bs", 0b10, 2), group("bs", "bs", 0b01, 1))
    findings = check_issue(source, audience=audience, network=network)
    dead, unclear, sender, mail = (
        next(one for one in findings if one.kind is kind)
        for kind in (
            FindingKind.dead_link,
            FindingKind.unclear_link,
            FindingKind.sender_records,
            FindingKind.broken_link,
        )
    )
    assert dead.message == f"en: the link to {gone} does not work: there is no such page (404)."
    assert [place.story for place in dead.places] == [first.story, second.story]
    assert (dead.severity, dead.editions, dead.subscribers, dead.looked_at) == (Severity.warning, 2, 7, at)
    assert unclear.severity is Severity.note and unclear.editions == 1
    assert (sender.text, sender.severity, sender.editions) == ("no SPF.", Severity.warning, 3)
    assert mail.message == "en: the link to mailto:ina@example holds no valid email address."
    assert not any(one.blocks for one in (dead, unclear, sender, mail))
