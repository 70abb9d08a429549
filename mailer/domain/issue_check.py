"""The rules by which an issue is checked before its approval.

The command line and pages show the same findings. Rules about readers need the audience, rules about size the sizes
of rendered editions; without these, they find nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mailer.domain.audience import AudienceGroup
from mailer.domain.composition import IssueSource, StorySource
from mailer.domain.editions import StoryLanguages, language_shown, missing_languages
from mailer.domain.findings import Finding, FindingKind, Part, Place, Severity
from mailer.domain.issue_links import TextPlace, invalid_mail_links, web_links
from mailer.domain.languages import match_language
from mailer.domain.localized import localize
from mailer.domain.markdown import find_problems
from mailer.domain.mentions import StoryIndex, StoryWording
from mailer.domain.network_checks import LookupKind, LookupOutcome, NetworkChecks
from mailer.domain.partial_editions import HEADLINE, HEADLINES, unknown_placeholders
from mailer.domain.staff_texts import LanguageTag, StaffText, gettext, ngettext
from mailer.domain.states import MissingTranslationPolicy, SkipReason
from mailer.domain.text_tree import plain_line

GMAIL_CLIP_BYTES = 102_000
"""Gmail shows so much of a mail's HTML, and a link to the rest."""
MANY_SUBSCRIBERS_SHARE = 0.2
"""A text that speaks of a story is worth a finding if at least this share of its readers do not get the story."""
_MAX_TITLES = 3
"""Stories that a note about readers names."""

_TEXT_KINDS = {
    FindingKind.empty_headline,
    FindingKind.no_alt_text,
    FindingKind.stale_translation,
    FindingKind.broken_link,
    FindingKind.not_shown,
    FindingKind.dead_link,
    FindingKind.unclear_link,
}
"""Findings about a story's text in a language, wherever it is shown."""


def check_issue(
    source: IssueSource,
    *,
    render_errors: Sequence[tuple[str, str]] = (),
    audience: Sequence[AudienceGroup] = (),
    html_sizes: Mapping[tuple[str, int], int] | None = None,
    read_language: str = "",
    network: NetworkChecks | None = None,
) -> list[Finding]:
    """Return the findings about an issue, the most serious first.

    What is the same in several languages is one finding. ``render_errors`` are (language, message) pairs,
    ``html_sizes``: (language, section mask) → bytes. Stories are named in ``read_language``, or in the newsletter's
    default language.
    """
    check = _Check(source, audience, read_language or source.language_rules.default_language)
    findings = [
        *(Finding(FindingKind.render_error, Severity.blocks, error, (language,)) for language, error in render_errors),
        *check.newsletter(),
        *check.front_matter(),
        *check.stories(),
        *check.markdown(),
        *check.missing_translations(),
        *check.unfinished(),
        *check.sections(),
        *check.languages_without_text(),
        *check.readable_languages(),
        *check.absent_stories(),
        *check.clipped(html_sizes or {}),
        *check.mail_links(),
        *(check.links(network) if network else ()),
        *(check.sender(network) if network else ()),
    ]
    merged = map(check.with_editions, _merged(findings))
    return sorted(merged, key=lambda finding: list(Severity).index(finding.severity))


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with those joined that say the same of different languages."""
    joined: dict[object, Finding] = {}
    for finding in findings:
        key = finding.kind, finding.severity, finding.text, finding.places, finding.sections
        if (first := joined.get(key)) and finding.languages:
            finding = replace(
                first,
                languages=first.languages + finding.languages,
                subscribers=_total(first.subscribers, finding.subscribers),
                of_subscribers=_total(first.of_subscribers, finding.of_subscribers),
            )
        joined[key] = finding
    return list(joined.values())


def _total(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _speaks_of(part: Part, title: str) -> StaffText:
    match part:
        case Part.subject:
            return gettext("the subject seems to speak of “%(title)s”, which many readers do not get.", title=title)
        case Part.preheader:
            return gettext("the preheader seems to speak of “%(title)s”, which many readers do not get.", title=title)
    return gettext("the introduction seems to speak of “%(title)s”, which many readers do not get.", title=title)


def _placeholders(unknown: str) -> dict[str, str]:
    return {"unknown": unknown, "headline": HEADLINE, "headlines": HEADLINES}


def _markdown_findings(parts: Sequence[str], where: str, language: str, place: Place) -> Iterator[Finding]:
    for problem in (problem for part in parts for problem in find_problems(part)):
        kind = FindingKind.broken_link if problem.blocks else FindingKind.not_shown
        severity = Severity.blocks if problem.blocks else Severity.warning
        text = gettext("%(where)s: %(problem)s", where=where, problem=problem.message)
        yield Finding(kind, severity, text, (language,), places=(place,))


class _Check:
    """The rules, each a method that yields findings."""

    def __init__(self, source: IssueSource, audience: Sequence[AudienceGroup], read_language: str) -> None:
        self.source, self.rules, self.read_language = source, source.language_rules, read_language
        self.audience = [group for group in audience if group.skip_reason is None]
        self.without_language = [group for group in audience if group.skip_reason is SkipReason.no_language]
        self.subscribers: Counter[tuple[str, int]] = Counter()
        for group in self.audience:
            self.subscribers[group.language or "", group.sections] += group.subscribers
        self.shown = {
            (story.story, language): language_shown(
                StoryLanguages(story.story, story.section_bit, frozenset(story.texts)), language, self.rules
            )
            for story in source.stories
            for language in self.rules.languages
        }

    def place(self, story: StorySource) -> Place:
        """Return the place of a story, named in a language that the reader reads, else with its language's tag."""
        order = dict.fromkeys((*self.rules.languages, *sorted(story.texts)))
        headlines = {tag: plain_line(story.texts[tag].headline) for tag in order if tag in story.texts}
        if not headlines:
            headlines = {self.read_language: plain_line(story.draft_headline) or "–"}
        headline, tag = localize(headlines, self.read_language, self.rules.fallback_chains, self.rules.default_language)
        known = tag in (self.read_language, self.rules.default_language)
        key = next((section.key for section in self.source.sections if section.bit == story.section_bit), "")
        return Place(Part.story, headline if known else f"{headline} ({tag})", key, story.story)

    def subscribers_of(self, language: str, section_bit: int | None = None) -> int:
        """Return how many readers get an edition in a language, with the section if one is given."""
        return sum(
            count
            for (tag, mask), count in self.subscribers.items()
            if tag == language and (section_bit is None or mask >> section_bit & 1)
        )

    def with_editions(self, finding: Finding) -> Finding:
        """Return the finding with the number of editions that it concerns, and of their readers if they are unknown."""
        if not self.subscribers or finding.kind is FindingKind.language_without_text:
            return finding
        concerned = {key: count for key, count in self.subscribers.items() if self.is_concerned(finding, *key)}
        known = finding.subscribers is not None
        return replace(
            finding,
            editions=len(concerned),
            subscribers=finding.subscribers if known else sum(concerned.values()),
        )

    def is_concerned(self, finding: Finding, language: str, sections: int) -> bool:
        """Return whether an edition shows what a finding is about."""
        if finding.sections is not None:
            return language in finding.languages and sections == finding.sections
        stories = {place.story for place in finding.places} - {None}
        keys = {place.section for place in finding.places if place.part is Part.section}
        holds = [story for story in self.source.stories if sections >> story.section_bit & 1 and story.story in stories]
        if finding.kind in _TEXT_KINDS and stories:  # the text may be shown in editions of other languages, too
            introduction = any(place.part is Part.introduction for place in finding.places)
            return any(self.shown[story.story, language] in finding.languages for story in holds) or (
                introduction and language in finding.languages
            )
        if finding.languages and language not in finding.languages:
            return False
        if finding.kind is FindingKind.absent_story:
            return not holds
        if keys:
            return any(section.key in keys and sections >> section.bit & 1 for section in self.source.sections)
        return bool(holds) or not stories

    def newsletter(self) -> Iterator[Finding]:
        source, rules = self.source, self.rules
        if not source.stories:
            yield Finding(FindingKind.no_stories, Severity.blocks, gettext("the issue has no stories."))
        if not rules.languages:
            text = gettext("no language has a subject and an introduction.")
            yield Finding(FindingKind.no_language, Severity.blocks, text)
        if not source.postal_address.strip():
            text = gettext("the newsletter has no postal address; every email must contain one.")
            yield Finding(FindingKind.no_postal_address, Severity.blocks, text)
        if rules.languages and rules.default_language not in rules.languages:
            text = gettext(
                "the issue has no text in %(language)s, the newsletter's default language.",
                language=LanguageTag(rules.default_language),
            )
            yield Finding(FindingKind.no_default_language, Severity.warning, text)

    def front_matter(self) -> Iterator[Finding]:
        for language in self.rules.languages:
            front = self.source.front_matter[language]
            if not front.subject.strip():
                text, place = gettext("the subject is empty."), (Place(Part.subject),)
                yield Finding(FindingKind.empty_subject, Severity.blocks, text, (language,), places=place)
            if not front.preheader.strip():
                text = gettext("the preheader is empty; inboxes will show the first words of the text.")
                place = (Place(Part.preheader),)
                yield Finding(FindingKind.empty_preheader, Severity.note, text, (language,), places=place)
            for unknown in unknown_placeholders(front.partial_subject):
                sentence = gettext(
                    "%(unknown)s in the subject of partial editions means nothing; use %(headline)s or %(headlines)s.",
                    **_placeholders(unknown),
                )
                place = (Place(Part.subject),)
                yield Finding(FindingKind.not_shown, Severity.blocks, sentence, (language,), places=place)
            for unknown in unknown_placeholders(front.partial_preheader):
                sentence = gettext(
                    "%(unknown)s in the preheader of partial editions means nothing; use %(headline)s or "
                    "%(headlines)s.",
                    **_placeholders(unknown),
                )
                place = (Place(Part.preheader),)
                yield Finding(FindingKind.not_shown, Severity.blocks, sentence, (language,), places=place)

    def stories(self) -> Iterator[Finding]:
        for story in self.source.stories:
            place = (self.place(story),)
            for language, text in story.texts.items():
                if story.picture and not text.alt.strip():
                    headline = plain_line(text.headline)
                    sentence = gettext("the picture of “%(headline)s” has no alt text.", headline=headline)
                    yield Finding(FindingKind.no_alt_text, Severity.warning, sentence, (language,), places=place)
                if not text.headline.strip():
                    sentence = gettext("a story has no headline.")
                    yield Finding(FindingKind.empty_headline, Severity.blocks, sentence, (language,), places=place)

    def markdown(self) -> Iterator[Finding]:
        """Name links that lead nowhere, and what cannot be shown as it is meant."""
        for language in self.rules.languages:
            front, place = self.source.front_matter[language], Place(Part.introduction)
            yield from _markdown_findings([front.intro], gettext("the introduction"), language, place)
            partial = gettext("the introduction of partial editions")
            yield from _markdown_findings([front.partial_intro], partial, language, place)
        for story in self.source.stories:
            for language, text in story.texts.items():
                parts = (text.headline, text.body, *text.contacts)
                yield from _markdown_findings(parts, f"“{plain_line(text.headline)}”", language, self.place(story))

    def missing_translations(self) -> Iterator[Finding]:
        """Name the stories that an edition shows in another language, leaves out, or waits for."""
        by_id = {story.story: story for story in self.source.stories}
        grouped: defaultdict[tuple[str, bool], list[StorySource]] = defaultdict(list)
        for story, language in missing_languages(self.source.story_languages(), self.rules):
            grouped[language, self.shown[story, language] is None].append(by_id[story])
        for (language, left_out), missing in sorted(
            grouped.items(), key=lambda item: self.rules.languages.index(item[0][0])
        ):
            places = tuple(map(self.place, missing))
            blocks = self.rules.missing_translations is MissingTranslationPolicy.block
            yield Finding(
                FindingKind.missing_translation,
                Severity.blocks if blocks else Severity.note,
                self.missing_text(places, blocks, left_out),
                (language,),
                places=places,
            )

    def unfinished(self) -> Iterator[Finding]:
        """Name texts that are drafts, and translations whose source has changed since."""
        for drafts in (True, False):
            texts = self.source.drafts if drafts else self.source.stale - self.source.drafts
            kind = FindingKind.draft if drafts else FindingKind.stale_translation
            for language in sorted({language for _, language in texts}):
                places = tuple(self.place(story) for story in self.source.stories if (story.story, language) in texts)
                if (None, language) in texts:
                    text = (
                        gettext("the subject and the introduction are a draft, which readers do not get.")
                        if drafts
                        else gettext("the subject and the introduction were changed since they were translated.")
                    )
                    place = (Place(Part.introduction),)
                    yield Finding(kind, Severity.warning, text, (language,), places=place)
                if places:
                    text = self.unfinished_text(places, drafts=drafts)
                    yield Finding(kind, Severity.warning, text, (language,), places=places)

    def unfinished_text(self, places: Sequence[Place], *, drafts: bool) -> StaffText:
        titles = "; ".join(place.title for place in places)
        if drafts:
            return ngettext(
                "%(num)s story is a draft, which readers do not get: %(titles)s.",
                "%(num)s stories are drafts, which readers do not get: %(titles)s.",
                len(places),
                titles=titles,
            )
        return ngettext(
            "%(num)s story was changed since it was translated: %(titles)s.",
            "%(num)s stories were changed since they were translated: %(titles)s.",
            len(places),
            titles=titles,
        )

    def missing_text(self, places: Sequence[Place], blocks: bool, left_out: bool) -> StaffText:
        """Return how many stories have no text in a language, what follows from it, and their titles."""
        count, titles = len(places), "; ".join(place.title for place in places)
        if blocks:
            return ngettext(
                "%(count)s of %(num)s story must be translated first: %(titles)s.",
                "%(count)s of %(num)s stories must be translated first: %(titles)s.",
                len(self.source.stories),
                count=count,
                titles=titles,
            )
        if left_out:
            return ngettext(
                "%(count)s of %(num)s story will be left out: %(titles)s.",
                "%(count)s of %(num)s stories will be left out: %(titles)s.",
                len(self.source.stories),
                count=count,
                titles=titles,
            )
        return ngettext(
            "%(count)s of %(num)s story will be shown in another language, with a label: %(titles)s.",
            "%(count)s of %(num)s stories will be shown in another language, with a label: %(titles)s.",
            len(self.source.stories),
            count=count,
            titles=titles,
        )

    def sections(self) -> Iterator[Finding]:
        """Name sections without a title in a language, and those that readers cannot choose."""
        used = {story.section_bit for story in self.source.stories}
        for section in (section for section in self.source.sections if section.bit in used):
            default = self.rules.default_language
            title = localize(section.titles, self.read_language, self.rules.fallback_chains, default).text
            place = (Place(Part.section, title, section.key),)
            if not section.offered:
                yield Finding(
                    FindingKind.unoffered_section,
                    Severity.warning,
                    gettext(
                        "the section “%(title)s” is not offered to readers; those who follow every section get it.",
                        title=title,
                    ),
                    subscribers=sum(self.subscribers_of(language, section.bit) for language in self.rules.languages),
                    of_subscribers=sum(self.subscribers.values()) or None,
                    places=place,
                )
            for language in self.rules.languages:
                if match_language(language, list(section.titles)):
                    continue
                shown, tag = localize(section.titles, language, self.rules.fallback_chains, default)
                yield Finding(
                    FindingKind.untitled_section,
                    Severity.warning,
                    gettext(
                        "the section %(section)s has no title; its title in %(language)s will be shown, “%(title)s”.",
                        section=section.key,
                        language=LanguageTag(tag),
                        title=shown,
                    ),
                    (language,),
                    subscribers=self.subscribers_of(language, section.bit),
                    of_subscribers=self.subscribers_of(language) or None,
                    places=place,
                )

    def languages_without_text(self) -> Iterator[Finding]:
        """Name the languages that readers prefer and in which the issue has no text at all."""
        instead: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for group in (*self.audience, *self.without_language):
            if group.languages and not match_language(group.languages[0], self.rules.languages):
                instead[group.languages[0]][group.language or ""] += group.subscribers
        for language, editions in sorted(instead.items(), key=lambda item: (-item[1].total(), item[0])):
            total = editions.total()
            parts = [
                ngettext(
                    "%(num)s will get it in %(language)s",
                    "%(num)s will get it in %(language)s",
                    count,
                    language=LanguageTag(tag),
                )
                if tag
                else ngettext("%(num)s will get nothing", "%(num)s will get nothing", count)
                for tag, count in editions.most_common()
            ]
            text = ngettext(
                "%(num)s reader prefers %(language)s, in which the issue has no text: %(parts)s.",
                "%(num)s readers prefer %(language)s, in which the issue has no text: %(parts)s.",
                total,
                language=LanguageTag(language),
                parts=tuple(parts),
            )
            yield Finding(FindingKind.language_without_text, Severity.warning, text, subscribers=total)

    def readable_languages(self) -> Iterator[Finding]:
        """Name stories that readers get in another language, or not, though they read one in which it is ready."""
        counts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for group in self.audience:
            edition = group.language or ""
            for story in self.source.stories:
                shown = self.shown[story.story, edition]
                if not group.sections >> story.section_bit & 1 or shown == edition:
                    continue
                if shown and any(match_language(tag, [shown]) for tag in group.languages):
                    continue
                languages = (match_language(tag, list(story.texts)) for tag in group.languages)
                if own := next(filter(None, languages), None):
                    counts[edition, own][story.story] += group.subscribers
        by_id = {story.story: story for story in self.source.stories}
        for (edition, own), stories in sorted(counts.items()):
            places = tuple(self.place(by_id[story]) for story in by_id if story in stories)
            count = max(stories.values())
            titles = "; ".join(place.title for place in places[:_MAX_TITLES])
            if more := max(0, len(places) - _MAX_TITLES):
                titles = ngettext("%(titles)s and %(num)s more", "%(titles)s and %(num)s more", more, titles=titles)
            yield Finding(
                FindingKind.other_language_readable,
                Severity.note,
                ngettext(
                    "%(num)s reader also reads %(language)s, but will not get these stories in it: %(titles)s.",
                    "%(num)s readers also read %(language)s, but will not get these stories in it: %(titles)s.",
                    count,
                    language=LanguageTag(own),
                    titles=titles,
                ),
                (edition,),
                subscribers=count,
                places=places,
            )

    def absent_stories(self) -> Iterator[Finding]:
        """Name texts of the front matter that speak of a story which many of their readers do not get."""
        for language in self.rules.languages:
            total = self.subscribers_of(language)
            without = {
                story.story: total - self.subscribers_of(language, story.section_bit) for story in self.source.stories
            }
            if not total or max(without.values(), default=0) < MANY_SUBSCRIBERS_SHARE * total:
                continue
            index = StoryIndex(
                {
                    story.story: StoryWording(story.texts[language].headline, story.texts[language].body)
                    for story in self.source.stories
                    if language in story.texts
                }
            )
            by_id = {story.story: story for story in self.source.stories}
            front = self.source.front_matter[language]
            texts = {  # of partial editions, since others have all stories
                Part.subject: front.partial_subject or front.subject,
                Part.preheader: front.partial_preheader or front.preheader,
                Part.introduction: front.partial_intro or front.intro,
            }
            for part, text in texts.items():
                for story in index.mentioned(text):
                    if without[story] < MANY_SUBSCRIBERS_SHARE * total:
                        continue
                    place = self.place(by_id[story])
                    yield Finding(
                        FindingKind.absent_story,
                        Severity.note if part is Part.introduction else Severity.warning,
                        _speaks_of(part, place.title),
                        (language,),
                        subscribers=without[story],
                        of_subscribers=total,
                        places=(Place(part), place),
                    )

    def clipped(self, html_sizes: Mapping[tuple[str, int], int]) -> Iterator[Finding]:
        """Name the editions of which Gmail shows only the beginning, the largest first."""
        for (language, sections), size in sorted(html_sizes.items(), key=lambda item: -item[1]):
            if size > GMAIL_CLIP_BYTES:
                titles = [section.key for section in self.source.sections if sections >> section.bit & 1]
                yield Finding(
                    FindingKind.clipped_by_gmail,
                    Severity.warning,
                    gettext(
                        "Gmail will cut the edition with %(sections)s: %(size)s kB of HTML, and it shows %(shown)s.",
                        sections=tuple(titles),
                        size=round(size / 1000),
                        shown=GMAIL_CLIP_BYTES // 1000,
                    ),
                    (language,),
                    sections,
                    self.subscribers[language, sections],
                    self.subscribers_of(language),
                )

    def text_place(self, place: TextPlace) -> Place:
        """Return where a text is."""
        by_id = {story.story: story for story in self.source.stories}
        return Place(Part.introduction) if place[1] is None else self.place(by_id[place[1]])

    def mail_links(self) -> Iterator[Finding]:
        """Name links to email addresses that cannot be right."""
        for link, place in invalid_mail_links(self.source):
            text = gettext("the link to %(link)s holds no valid email address.", link=link)
            where = (self.text_place(place),)
            yield Finding(FindingKind.broken_link, Severity.warning, text, (place[0],), places=where)

    def links(self, network: NetworkChecks) -> Iterator[Finding]:
        """Name the links that were looked up and do not work, or could not be looked up."""
        for link, places in web_links(self.source).items():
            stored = network.results.get((LookupKind.link, link))
            if stored is None or stored.result.outcome is LookupOutcome.works:
                continue
            reason = stored.result.reason
            match stored.result.outcome:
                case LookupOutcome.broken:
                    kind, severity = FindingKind.dead_link, Severity.warning
                    text = gettext("the link to %(link)s does not work: %(reason)s.", link=link, reason=reason)
                case LookupOutcome.unclear:
                    kind, severity = FindingKind.unclear_link, Severity.note
                    text = gettext("the link to %(link)s could not be looked up: %(reason)s.", link=link, reason=reason)
                case _:
                    kind, severity = FindingKind.unclear_link, Severity.note
                    text = gettext("the link to %(link)s was not checked: %(reason)s.", link=link, reason=reason)
            yield Finding(
                kind,
                severity,
                text,
                tuple(dict.fromkeys(language for language, _ in places)),
                places=tuple(dict.fromkeys(map(self.text_place, places))),
                looked_at=stored.looked_at,
            )

    def sender(self, network: NetworkChecks) -> Iterator[Finding]:
        """Say what is wrong with the DNS records of the sender's domain."""
        for (kind, _), stored in network.results.items():
            if kind is not LookupKind.link and stored.result.outcome is not LookupOutcome.works:
                broken = stored.result.outcome is LookupOutcome.broken
                yield Finding(
                    FindingKind.sender_records,
                    Severity.warning if broken else Severity.note,
                    stored.result.reason,
                    looked_at=stored.looked_at,
                )
