"""Composes an edition: selects from an issue in all languages the content of one edition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from mailer.domain.content import (
    Dateline,
    EditionContent,
    EditionPicture,
    EditionSection,
    EditionStory,
    EditionUrls,
    Theme,
)
from mailer.domain.editions import (
    DigestSource,
    LanguageRules,
    StoryLanguages,
    digest_languages,
    in_sources,
    language_shown,
    sections_shown,
)
from mailer.domain.email_addresses import domain_of
from mailer.domain.languages import choose_language
from mailer.domain.locales import direction
from mailer.domain.localized import sender_display_name
from mailer.domain.text_overrides import TextOverrides, overrides_for


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """Front matter of an issue in one language."""

    subject: str
    preheader: str
    intro: str
    partial_subject: str = ""
    """For editions without some of the issue's sections. Empty for the same subject."""
    partial_preheader: str = ""
    partial_intro: str = ""


@dataclass(frozen=True, slots=True)
class StoryText:
    """A story in one language."""

    headline: str
    body: str
    datelines: tuple[Dateline, ...]
    alt: str
    link: str
    link_label: str
    contacts: tuple[str, ...]
    """Contact notes printed after the story, in this language if translated."""
    picture_credit: str = ""


@dataclass(frozen=True, slots=True)
class StorySource:
    """A story in every language that is ready."""

    story: int
    section_bit: int
    texts: Mapping[str, StoryText]
    """Texts by language; only those that are ready."""
    picture: tuple[str, int, int] | None
    """URL, width, height."""
    thumbnail_url: str = ""
    """Empty if there is no thumbnail."""
    source: DigestSource | None = None
    """Only in a digest: the issue from which the story comes."""
    draft_headline: str = ""
    """Names a story without a text that is ready to those who work on it."""

    def languages(self) -> StoryLanguages:
        """Return the story with the languages in which it is ready."""
        return StoryLanguages(self.story, self.section_bit, frozenset(self.texts), self.source)


@dataclass(frozen=True, slots=True)
class SectionSource:
    """A section with its titles by language."""

    bit: int
    key: str
    colour: str
    titles: Mapping[str, str]
    offered: bool = True
    """Whether readers can choose it."""


TextRef = tuple[int | None, str]
"""A story, or None for the front matter, and a language."""


@dataclass(frozen=True, slots=True)
class IssueSource:
    """The content of an issue in all languages. Sections and stories are in printing order."""

    issue: int
    revision: int
    number: str
    issue_date: date
    slug: str
    names: Mapping[str, str]
    taglines: Mapping[str, str]
    sender_name: str
    sender_address: str
    reply_to: str
    postal_address: str
    website: str
    list_id: str
    theme: Theme
    language_rules: LanguageRules
    front_matter: Mapping[str, FrontMatter]
    sections: Sequence[SectionSource]
    stories: Sequence[StorySource]
    always_included: int
    header_image: tuple[str, int, int] | None = None
    public: bool = True
    """Whether the archive shows the issue."""
    text_overrides: TextOverrides = field(default_factory=dict)
    digest_sources: Sequence[DigestSource] = ()
    """The issues that a digest holds, oldest first."""
    drafts: frozenset[TextRef] = frozenset()
    """Texts that are written and not ready."""
    stale: frozenset[TextRef] = frozenset()
    """Translations whose source has changed since."""

    def holding(self, mask: int) -> "IssueSource":
        """Return a digest with only those of its issues whose positions are in the mask; 0 leaves an issue as it is."""
        if not mask:
            return self
        held = in_sources(self.digest_sources, mask)
        languages = digest_languages(self.language_rules.languages, held)
        fronts = {
            tag: replace(
                self.front_matter[tag],
                preheader=" · ".join(source.subjects[tag] for source in held if tag in source.subjects),
            )
            for tag in languages
        }
        return replace(
            self,
            language_rules=replace(self.language_rules, languages=languages),
            front_matter=fronts,
            stories=[story for story in self.stories if story.source is None or story.source in held],
            digest_sources=held,
        )

    @property
    def sender_domain(self) -> str:
        """The domain of the return path if the settings name no bounce domain."""
        return domain_of(self.sender_address)

    def story_languages(self) -> list[StoryLanguages]:
        """Return the stories with the languages in which each is ready."""
        return [story.languages() for story in self.stories]

    def sections_shown(self, language: str) -> int:
        """Return the mask of sections with at least one story in an edition of this language."""
        return sections_shown(self.story_languages(), language, self.language_rules)

    def _localized(self, texts: Mapping[str, str], language: str) -> tuple[str, str]:
        """Return the text in the nearest language, and that language."""
        match = choose_language(
            [language], list(texts), self.language_rules.fallback_chains, self.language_rules.default_language
        )
        if match:
            return texts[match.language], match.language
        return next(((text, tag) for tag, text in texts.items()), ("", language))

    def name(self, language: str) -> str:
        """Return the newsletter's name in the nearest language."""
        return self._localized(self.names, language)[0]

    def compose(
        self,
        language: str,
        sections: int,
        urls: EditionUrls,
        subscriber_name: str = "",
        subscriber_address: str = "",
        greeting_boundary: str = "",
    ) -> EditionContent:
        """Return the edition in ``language`` with the sections of the mask ``sections``.

        A story without the language is shown in a fallback language with a label, or left out, by the
        issue's policy. Raises KeyError if the issue has no front matter in the language.
        """
        front = self.front_matter[language]
        included: list[EditionSection] = []
        unfollowed: list[str] = []
        for section in self.sections:
            stories = [
                self._edition_story(story, language) for story in self.stories if story.section_bit == section.bit
            ]
            present = tuple(story for story in stories if story is not None)
            if not present:
                continue
            title, title_language = self._localized(section.titles, language)
            if sections >> section.bit & 1:
                included.append(EditionSection(section.key, title, title_language, present, section.colour))
            elif section.offered:
                unfollowed.append(title)
        name = self.name(language)
        return EditionContent(
            language=language,
            direction=direction(language),
            newsletter=name,
            tagline=self._localized(self.taglines, language)[0],
            issue_label=self.number,
            issue_date=self.issue_date,
            subject=front.subject,
            preheader=front.preheader,
            intro=front.intro,
            partial_subject=front.partial_subject,
            partial_preheader=front.partial_preheader,
            partial_intro=front.partial_intro,
            sections=tuple(included),
            unfollowed_sections=tuple(unfollowed),
            postal_address=self.postal_address,
            sender_name=sender_display_name(self.sender_name, self.names, name),
            reply_to=self.reply_to or self.sender_address,
            urls=urls,
            header_image=EditionPicture(*self.header_image, alt="") if self.header_image else None,
            subscriber_name=subscriber_name,
            subscriber_address=subscriber_address,
            greeting_boundary=greeting_boundary,
            theme=self.theme,
            text_overrides=overrides_for(self.text_overrides, language),
        )

    def _edition_story(self, story: StorySource, language: str) -> EditionStory | None:
        story_language = language_shown(story.languages(), language, self.language_rules)
        if story_language is None:
            return None
        text = story.texts[story_language]
        picture = None
        if story.picture:
            url, width, height = story.picture
            picture = EditionPicture(url, width, height, text.alt, story.thumbnail_url, text.picture_credit)
        return EditionStory(
            key=str(story.story),
            headline=text.headline,
            body=text.body,
            language=story_language,
            is_fallback=story_language != language,
            datelines=text.datelines,
            picture=picture,
            link=text.link,
            link_label=text.link_label,
            contacts=text.contacts,
        )
