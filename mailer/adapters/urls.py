"""Builds URLs for emails and web pages, and parses the recipient addresses of inbound mail."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from mailer.adapters.tokens import Purpose, Tokens, encode_base64url, encode_hex
from mailer.domain import urls

PICTURE_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


class SubscriberSlots(NamedTuple):
    """The tokens in a subscriber's mail. The first two have 22 characters, the others 32."""

    unsubscribe: str
    preferences: str
    mail_unsubscribe: str
    bounce: str
    message: str


class InboundRecipient(NamedTuple):
    """What the recipient address of an inbound mail refers to."""

    kind: str
    """Name of the token's Purpose: unsubscribe, unsubscribe_newsletter, bounce or transactional."""
    context_id: int
    """Issue for unsubscribe and bounce, else newsletter."""
    target_id: int
    """Transactional email for transactional, else subscriber."""


_INBOUND_PREFIXES = {
    "unsubscribe": (Purpose.unsubscribe, Purpose.unsubscribe_newsletter),
    "bounce": (Purpose.bounce, Purpose.transactional),
}


class Urls:
    """Builds absolute URLs for links in emails, and paths for links between pages."""

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
        """Return the path of a URL of this service."""
        return url.removeprefix(self._origin)

    def path(self, pattern: str, **values: str | int) -> str:
        """Return a path of mailer.domain.urls, with the path of the public URL in front."""
        return self._root + pattern.format(**values)

    def page_url(self, path: str) -> str:
        """Return the URL of a path without a leading slash. ``path`` may be a slot marker."""
        return f"{self._origin}{self._root}/{path}"

    def _token_url(self, pattern: str, purpose: Purpose, first: int, second: int, **values: str) -> str:
        token = self._tokens.make_link_token(purpose, first, second)
        return self.absolute(self.path(pattern, token=token, **values))

    # Links in mail

    def web_view_url(self, issue: int, edition: int) -> str:
        return self._token_url(urls.WEB_VIEW, Purpose.web_view, issue, edition)

    def test_view_url(self, issue: int, test: int) -> str:
        return self._token_url(urls.WEB_VIEW, Purpose.test_view, issue, test)

    def picture_url(self, sha256: str, media_type: str) -> str:
        extension = PICTURE_EXTENSIONS[media_type]
        return self.absolute(self.path(urls.PICTURE, name=sha256[:32], extension=extension))

    def archive_url(self, slug: str) -> str:
        return self.absolute(self.archive(slug))

    def preferences_url(self, newsletter: int, subscriber: int) -> str:
        """Return the preferences link for an email that belongs to no issue."""
        return self._token_url(urls.PREFERENCES, Purpose.preferences_newsletter, newsletter, subscriber)

    def unsubscribe_url(self, newsletter: int, subscriber: int) -> str:
        return self._token_url(urls.UNSUBSCRIBE, Purpose.unsubscribe_newsletter, newsletter, subscriber)

    def manage_url(self, issued_at: int, subscriber: int, slug: str) -> str:
        """Return the link to the subscriber's own page. ``issued_at`` is in seconds since the epoch."""
        return self._token_url(urls.MANAGE, Purpose.magic_link, issued_at, subscriber, slug=slug)

    def confirm_url(self, signup: int) -> str:
        return self._token_url(urls.CONFIRM, Purpose.confirm, 0, signup)

    def change_address_url(self, change: int, *, new: bool) -> str:
        """Return the link by which the old or new address confirms a change of address."""
        return self._token_url(urls.CHANGE_ADDRESS, Purpose.change_address, int(new), change)

    def account_link_url(self, link: int) -> str:
        """Return the link by which a member of staff chooses a password."""
        return self._token_url(urls.CHOOSE_PASSWORD, Purpose.account_link, 0, link)

    def text_request_url(self, request: int) -> str:
        """Return the link behind which somebody without an account writes a text."""
        return self._token_url(urls.CONTRIBUTION, Purpose.text_request, 0, request)

    # Paths of pages

    def home(self) -> str:
        return self.path(urls.HOME)

    def archive(self, slug: str) -> str:
        """Return the path that redirects to the archive in the visitor's language."""
        return self.path(urls.ARCHIVE, slug=slug)

    def issue_list(self, slug: str, language: str, page: int = 1, query: str = "") -> str:
        parameters = ({"q": query} if query else {}) | ({"page": page} if page > 1 else {})
        path = self.path(urls.ISSUE_LIST, slug=slug, language=language)
        return path + (f"?{urlencode(parameters)}" if parameters else "")

    def edition(self, slug: str, language: str, issue: str, sections: Sequence[str] = ()) -> str:
        parameters = urlencode([("section", key) for key in sections])
        path = self.path(urls.EDITION, slug=slug, language=language, issue=issue)
        return path + (f"?{parameters}" if parameters else "")

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
        """Return the token in the Message-ID and return path of a transactional email. It is deterministic."""
        return encode_hex(self._tokens.encrypt(Purpose.transactional, newsletter, [email]))[0]

    def unsubscribe_token(self, newsletter: int, subscriber: int) -> str:
        """Return the token for ``unsubscribe+…@`` in a transactional email."""
        return encode_hex(self._tokens.encrypt(Purpose.unsubscribe_newsletter, newsletter, [subscriber]))[0]

    def parse_recipient(self, recipient: str) -> InboundRecipient | None:
        """Parse an address such as ``bounce+…@`` or ``unsubscribe+…@``.

        Returns None for any other address and for an invalid token.
        """
        prefix, _, token = recipient.rpartition("@")[0].lower().partition("+")
        for purpose in _INBOUND_PREFIXES.get(prefix, ()):
            if ids := self._tokens.read_mail_token(purpose, token):
                return InboundRecipient(purpose.name, *ids)
        return None

    def subscriber_slots(self, issue: int, subscribers: Sequence[int]) -> Iterator[SubscriberSlots]:
        encrypt = self._tokens.encrypt
        unsubscribe = encrypt(Purpose.unsubscribe, issue, subscribers)
        return map(
            SubscriberSlots,
            encode_base64url(unsubscribe),
            encode_base64url(encrypt(Purpose.preferences, issue, subscribers)),
            encode_hex(unsubscribe),
            encode_hex(encrypt(Purpose.bounce, issue, subscribers)),
            encode_hex(encrypt(Purpose.message, issue, subscribers)),
        )
