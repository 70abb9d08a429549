"""Composing an edition: an issue's material in all languages becomes the content of one edition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from mailer.domain.content import Dateline, EditionContent, Links, Picture, Section, Story, Theme
from mailer.domain.editions import Rules, StoryText, sections_shown, shown_in
from mailer.domain.languages import choose
from mailer.domain.locales import direction
from mailer.domain.phrases import Phrases, own_words
from mailer.domain.wording import signed


@dataclass(frozen=True, slots=True)
class Front:
    """Front matter of an issue in one language."""

    subject: str
    preheader: str
    intro: str


@dataclass(frozen=True, slots=True)
class Text:
    """A story in one language."""

    headline: str
    body: str
    datelines: tuple[Dateline, ...]
    alt: str
    link: str
    link_label: str
    contacts: tuple[str, ...]
    """Contact notes printed after the story, in this language where they exist in it."""


@dataclass(frozen=True, slots=True)
class StoryMaterial:
    story: int
    section: int
    """The section's bit."""
    texts: Mapping[str, Text]
    """By language; only those that are ready."""
    picture: tuple[str, int, int] | None
    """URL, width, height."""


@dataclass(frozen=True, slots=True)
class SectionMaterial:
    bit: int
    key: str
    colour: str
    titles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class IssueMaterial:
    """All that every edition of an issue is made of. Sections and stories in the order of printing."""

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
    rules: Rules
    fronts: Mapping[str, Front]
    sections: Sequence[SectionMaterial]
    stories: Sequence[StoryMaterial]
    always: int
    masthead: tuple[str, int, int] | None = None
    public: bool = True
    """Whether everybody may read it in the archive."""
    phrases: Phrases = field(default_factory=dict)

    def texts(self) -> list[StoryText]:
        return [StoryText(story.story, story.section, frozenset(story.texts)) for story in self.stories]

    def sections_shown(self, language: str) -> int:
        """Mask of the sections that an edition in this language has something to show in."""
        return sections_shown(self.texts(), language, self.rules)

    def _named(self, texts: Mapping[str, str], language: str) -> tuple[str, str]:
        """A name in the language or the nearest one; (name, its language)."""
        found = choose([language], list(texts), self.rules.chains, self.rules.default)
        if found:
            return texts[found.language], found.language
        return next(((text, tag) for tag, text in texts.items()), ("", language))

    def name(self, language: str) -> str:
        return self._named(self.names, language)[0]

    def compose(
        self,
        language: str,
        sections: int,
        links: Links,
        reader_name: str = "",
        reader_address: str = "",
        greeting_edge: str = "",
    ) -> EditionContent:
        """The edition in ``language`` with the sections in the mask ``sections``.

        A story without the language is shown in the one it falls back to, labelled, or left out, as the
        issue's policy says. Raises KeyError when the issue has no front matter in the language.
        """
        front = self.fronts[language]
        shown: list[Section] = []
        left_out: list[str] = []
        for section in self.sections:
            stories = [self._story(story, language) for story in self.stories if story.section == section.bit]
            present = tuple(story for story in stories if story is not None)
            if not present:
                continue
            title, title_language = self._named(section.titles, language)
            if sections >> section.bit & 1:
                shown.append(Section(section.key, title, title_language, present, section.colour))
            else:
                left_out.append(title)
        name = self.name(language)
        return EditionContent(
            language=language,
            direction=direction(language),
            newsletter=name,
            tagline=self._named(self.taglines, language)[0],
            issue_label=self.number,
            issue_date=self.issue_date,
            subject=front.subject,
            preheader=front.preheader,
            intro=front.intro,
            sections=tuple(shown),
            left_out=tuple(left_out),
            postal_address=self.postal_address,
            sender_name=signed(self.sender_name, self.names, name),
            reply_to=self.reply_to or self.sender_address,
            links=links,
            masthead_picture=Picture(*self.masthead, alt="") if self.masthead else None,
            reader_name=reader_name,
            reader_address=reader_address,
            greeting_edge=greeting_edge,
            theme=self.theme,
            own_words=own_words(self.phrases, language),
        )

    def _story(self, story: StoryMaterial, language: str) -> Story | None:
        texts = StoryText(story.story, story.section, frozenset(story.texts))
        found = shown_in(texts, language, self.rules)
        if found is None:
            return None
        text = story.texts[found]
        picture = None
        if story.picture:
            url, width, height = story.picture
            picture = Picture(url, width, height, text.alt)
        return Story(
            key=str(story.story),
            headline=text.headline,
            body=text.body,
            language=found,
            fell_back=found != language,
            datelines=text.datelines,
            picture=picture,
            link=text.link,
            link_label=text.link_label,
            contacts=text.contacts,
        )
