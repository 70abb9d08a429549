"""Subject and preheader of partial editions: those without some of the issue's sections.

What an issue says of itself as a whole may promise stories that a partial edition does not have. Therefore its front
matter can have texts for partial editions, with the headlines of the edition's own stories in place of ``{headline}``
and ``{headlines}``.
"""

import re
from collections.abc import Callable, Collection

from mailer.domain.content import EditionContent

HEADLINE, HEADLINES = "{headline}", "{headlines}"
_PLACEHOLDER = re.compile(r"\{\w*\}")
_MAX_HEADLINES_CHARACTERS = 140
"""As much as most mail programs show of a preheader."""


def edition_subject_and_preheader(
    content: EditionContent, sections: Collection[str], plain_line: Callable[[str], str]
) -> tuple[str, str]:
    """Return the subject and preheader of the edition with the sections of these keys.

    ``plain_line`` returns a headline without its Markdown.
    """
    if not content.unfollowed_sections and all(section.key in sections for section in content.sections):
        return content.subject, content.preheader
    stories = [story for section in content.sections if section.key in sections for story in section.stories]
    translated = [story for story in stories if not story.is_fallback]
    first, *others = [" ".join(plain_line(story.headline).split()) for story in translated or stories] or [""]
    shown: list[str] = []
    for headline in others:
        if shown and len(" · ".join([*shown, headline])) > _MAX_HEADLINES_CHARACTERS:
            break
        shown.append(headline)
    headlines = " · ".join(shown) or content.tagline

    def fill(text: str) -> str:
        return text.replace(HEADLINE, first).replace(HEADLINES, headlines)

    return fill(content.partial_subject) or content.subject, fill(content.partial_preheader) or content.preheader


def unknown_placeholders(text: str) -> list[str]:
    """Return what looks like a placeholder and would be printed as it is."""
    return [found for found in _PLACEHOLDER.findall(text) if found not in (HEADLINE, HEADLINES)]
