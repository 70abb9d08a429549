"""Paths of the web pages, with redaction, robots.txt and the documented proxy."""

import re

import pytest

from mailer.domain import urls
from mailer.settings import ROOT
from mailer.web import theme
from mailer.web.accounts import sign_in
from mailer.web.desk import contribution
from mailer.web.logs import redact_tokens
from mailer.web.public import archive, feeds, mail_links, manage, sign_up, sitemap

PATHS = [
    route.path
    for module in (archive, feeds, mail_links, manage, sign_up, sitemap, theme, sign_in, contribution)
    for route in module.router.routes
]


def test_every_route_with_a_token_is_redacted_and_closed_to_search_engines() -> None:
    with_token = [path for path in PATHS if "{token}" in path]
    assert {path[:3] for path in with_token} == {f"/{prefix}" for prefix in urls.TokenPrefix}
    for path in with_token:
        assert re.match(urls.TOKEN_PATH_REGEX, path)
        assert redact_tokens(path) == path.replace("{token}", "*")
        assert not path.startswith(urls.INDEXED_PREFIXES)


def test_every_other_route_shows_its_path_in_logs() -> None:
    for path in PATHS:
        assert "{token}" in path or redact_tokens(path) == path


def test_the_documented_proxy_keeps_the_same_paths_out_of_its_logs() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"location ~ {urls.TOKEN_PATH_REGEX} {{" in page
    (named,) = re.findall(r"keep readers' links out of its logs: everything below (.*?);", page)
    assert set(re.findall(r"`/(./)`", named)) == set(urls.TokenPrefix)


@pytest.mark.parametrize("prefix", urls.TokenPrefix)
def test_a_token_prefix_is_a_single_letter(prefix: str) -> None:
    """TOKEN_PATH_REGEX relies on it."""
    assert re.fullmatch("[a-z]/", prefix)
