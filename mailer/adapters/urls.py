"""URLs below the public address, for mail and for web pages; and the addresses that mail comes back to."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from mailer.adapters.tokens import Purpose, Tokens, encode_base64url, encode_hex
from mailer.domain import urls

PICTURE_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


class SubscriberSlots(NamedTuple):
    """What is different in each reader's mail. The first two are 22 characters, the others 32."""

    unsubscribe: str
    preferences: str
    mail_unsubscribe: str
    bounce: str
    message: str


class InboundRecipient(NamedTuple):
    """``kind``: unsubscribe, quit, bounce or note. ``first`` is an issue, or the newsletter for quit and note;
    ``second`` is the subscriber, or the note."""

    kind: str
    context_id: int
    target_id: int


_INBOUND_PREFIXES = {
    "unsubscribe": (Purpose.unsubscribe, Purpose.unsubscribe_newsletter),
    "bounce": (Purpose.bounce, Purpose.transactional),
}


class Urls:
    """Builds the links of mail, which are absolute, and of pages, which are paths as browsers must ask for them."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        parts = urlsplit(public_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._root = parts.path.rstrip("/")
        self._tokens = tokens

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self._origin

    def absolute(self, path: str) -> str:
        """Return the URL of a path that another method returned."""
        return self._origin + path

    def relative(self, url: str) -> str:
        """Return the path of a URL of this service, for pages that load nothing from elsewhere."""
        return url.removeprefix(self._origin)

    def path(self, pattern: str, **values: str | int) -> str:
        """Return a path of mailer.domain.urls below that of the public address."""
        return self._root + pattern.format(**values)

    def page_url(self, path: str) -> str:
        """Return the URL of a path without a leading slash, or of a slot that stands for one."""
        return f"{self._origin}{self._root}/{path}"

    def _token_url(self, pattern: str, purpose: Purpose, first: int, second: int, **values: str) -> str:
        token = self._tokens.make_link_token(purpose, first, second)
        return self.absolute(self.path(pattern, token=token, **values))

    # Links in mail

    def web_view_url(self, issue: int, edition: int) -> str:
        return self._token_url(urls.WEB_VIEW, Purpose.web_view, issue, edition)

    def picture_url(self, sha256: str, media_type: str) -> str:
        extension = PICTURE_EXTENSIONS[media_type]
        return self.absolute(self.path(urls.PICTURE, name=sha256[:32], extension=extension))

    def archive_url(self, slug: str) -> str:
        return self.absolute(self.archive(slug))

    def preferences_url(self, newsletter: int, subscriber: int) -> str:
        """Return the link to sections, languages and the like in a mail that belongs to no issue."""
        return self._token_url(urls.PREFERENCES, Purpose.preferences_newsletter, newsletter, subscriber)

    def unsubscribe_url(self, newsletter: int, subscriber: int) -> str:
        return self._token_url(urls.UNSUBSCRIBE, Purpose.unsubscribe_newsletter, newsletter, subscriber)

    def manage_url(self, issued_at: int, subscriber: int, slug: str) -> str:
        """Return the link to the reader's own page about a newsletter. ``issued_at``: seconds since 1970."""
        return self._token_url(urls.MANAGE, Purpose.magic_link, issued_at, subscriber, slug=slug)

    def confirm_url(self, signup: int) -> str:
        return self._token_url(urls.CONFIRM, Purpose.confirm, 0, signup)

    def change_address_url(self, change: int, *, new: bool) -> str:
        """Return the link by which the old or the new address agrees to a change of address."""
        return self._token_url(urls.CHANGE_ADDRESS, Purpose.change_address, int(new), change)

    # Paths of pages

    def home(self) -> str:
        return self.path(urls.HOME)

    def archive(self, slug: str) -> str:
        """Return the path that leads to the language that the visitor prefers."""
        return self.path(urls.ARCHIVE, slug=slug)

    def issue_list(self, slug: str, language: str, page: int = 1, query: str = "") -> str:
        asked = ({"q": query} if query else {}) | ({"page": page} if page > 1 else {})
        path = self.path(urls.ISSUE_LIST, slug=slug, language=language)
        return path + (f"?{urlencode(asked)}" if asked else "")

    def edition(self, slug: str, language: str, issue: str, sections: Sequence[str] = ()) -> str:
        asked = urlencode([("section", key) for key in sections])
        path = self.path(urls.EDITION, slug=slug, language=language, issue=issue)
        return path + (f"?{asked}" if asked else "")

    def story(self, slug: str, language: str, issue: str, story: str | int) -> str:
        return self.path(urls.STORY, slug=slug, language=language, issue=issue, story=story)

    def subscribe(self, slug: str, language: str) -> str:
        return self.path(urls.SUBSCRIBE, slug=slug) + f"?lang={language}"

    def feed(self, slug: str, language: str, section: str = "") -> str:
        if not section:
            return self.path(urls.NEWSLETTER_FEED, slug=slug, language=language)
        return self.path(urls.SECTION_FEED, slug=slug, language=language, section=section)

    def sitemap(self, slug: str = "", issue: str = "") -> str:
        if not slug:
            return self.path(urls.SITEMAP_INDEX)
        if not issue:
            return self.path(urls.NEWSLETTER_SITEMAP, slug=slug)
        return self.path(urls.ISSUE_SITEMAP, slug=slug, issue=issue)

    # Addresses and tokens of mail

    def transactional_token(self, newsletter: int, email: int) -> str:
        """For the Message-ID and the return path of a note; always the same."""
        return encode_hex(self._tokens.encrypt(Purpose.transactional, newsletter, [email]))[0]

    def unsubscribe_token(self, newsletter: int, subscriber: int) -> str:
        """For ``unsubscribe+…@`` in a note."""
        return encode_hex(self._tokens.encrypt(Purpose.unsubscribe_newsletter, newsletter, [subscriber]))[0]

    def parse_recipient(self, recipient: str) -> InboundRecipient | None:
        """What came back to one of our addresses (``bounce+…@``, ``unsubscribe+…@``) is about; None for any
        other address, and for a token that is not ours."""
        what, _, token = recipient.rpartition("@")[0].lower().partition("+")
        for purpose in _INBOUND_PREFIXES.get(what, ()):
            if pair := self._tokens.read_mail_token(purpose, token):
                return InboundRecipient(purpose.name, *pair)
        return None

    def subscriber_slots(self, issue: int, subscribers: Sequence[int]) -> Iterator[SubscriberSlots]:
        seal = self._tokens.encrypt
        leave = seal(Purpose.unsubscribe, issue, subscribers)
        return map(
            SubscriberSlots,
            encode_base64url(leave),
            encode_base64url(seal(Purpose.preferences, issue, subscribers)),
            encode_hex(leave),
            encode_hex(seal(Purpose.bounce, issue, subscribers)),
            encode_hex(seal(Purpose.message, issue, subscribers)),
        )
