"""Where the pages of the archive are."""

from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit


class PageUrls:
    """Paths below the public address, as browsers have to ask for them; ``absolute`` makes URLs of them."""

    def __init__(self, public_url: str) -> None:
        parts = urlsplit(public_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._root = parts.path.rstrip("/")

    def absolute(self, path: str) -> str:
        return self._origin + path

    def relative(self, url: str) -> str:
        """The path of a URL of this service, for pages that load nothing from elsewhere."""
        return url.removeprefix(self._origin)

    def home(self) -> str:
        return f"{self._root}/"

    def archive(self, slug: str) -> str:
        """Of a newsletter, in the language that suits who comes."""
        return f"{self._root}/archive/{slug}"

    def issue_list(self, slug: str, language: str, page: int = 1, query: str = "") -> str:
        asked = ({"q": query} if query else {}) | ({"page": page} if page > 1 else {})
        return f"{self.archive(slug)}/{language}" + (f"?{urlencode(asked)}" if asked else "")

    def edition(self, slug: str, language: str, issue: str, sections: Sequence[str] = ()) -> str:
        asked = urlencode([("section", key) for key in sections])
        return f"{self.archive(slug)}/{language}/{issue}" + (f"?{asked}" if asked else "")

    def story(self, slug: str, language: str, issue: str, story: str | int) -> str:
        return f"{self.edition(slug, language, issue)}/{story}"

    def subscribe(self, slug: str, language: str) -> str:
        return f"{self._root}/subscribe/{slug}?lang={language}"

    def feed(self, slug: str, language: str, section: str = "") -> str:
        return f"{self.archive(slug)}/{language}" + (f"/{section}" if section else "") + ".atom"

    def sitemap(self, slug: str = "", issue: str = "") -> str:
        if not slug:
            return f"{self._root}/sitemap.xml"
        return f"{self.archive(slug)}" + (f"/{issue}" if issue else "") + ".sitemap.xml"
