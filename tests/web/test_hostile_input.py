"""Hostile URLs and forms get a readable error and change nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain.newsletter_check import read_newsletter
from mailer.services.newsletters.apply import apply_newsletter
from mailer.web.app import create_app
from tests.conftest import SAMPLE
from tests.support.mailing import Mailing

ADA = "ada@example.org"
IN_ADDRESSES = [
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%FF",
    "..%2F..",
    "%0D%0AX-Y: 1",
    "'",
    "-1",
    "9" * 30,
    "a" * 3000,
    "%E2%80%AE",
    "{{7*191}}",
    "%25s",
]
IN_FIELDS = [
    "\x00",
    "a\x00b",
    "9" * 5000,
    "-1",
    "1e5",
    "../../etc/passwd",
    "'",
    "\r\nBcc: all@example.org",
    "<script>alert(1)</script>",
    "{{7*191}}",
    "\u202e",
    '</mj-text><mj-include path="/etc/passwd"/>',
    "=HYPERLINK(1)",
]
PAGES = [
    "/{}",
    "/?lang={}",
    "/subscribe/{}",
    "/subscribe/{}/form",
    "/subscribe/lumen-basin?lang={}",
    "/archive/{}",
    "/archive/{}/en",
    "/archive/lumen-basin/{}",
    "/archive/lumen-basin/{}.atom",
    "/archive/lumen-basin/{}.sitemap.xml",
    "/archive/lumen-basin/en/{}",
    "/archive/lumen-basin/en/{}.atom",
    "/archive/lumen-basin/en?q={}",
    "/archive/lumen-basin/en?page={}",
    "/archive/lumen-basin/en/2026-3/{}",
    "/archive/lumen-basin/en/2026-3?section={}",
    "/u/{}",
    "/p/{}",
    "/c/{}",
    "/a/{}",
    "/e/{}",
    "/k/{}/lumen-basin",
    "KEY/{}",
    "KEY/{}/data",
    "KEY/{}/data.json",
    "/pictures/{}.jpg",
    "/theme/{}.css",
    "/static/{}",
]


def test_any_url_is_handled(mailing: Mailing, web_app: FastAPI) -> None:
    key = mailing.manage_path(ADA).rpartition("/")[0]
    before = mailing.profile(ADA)
    with TestClient(web_app, raise_server_exceptions=False, follow_redirects=False) as client:
        for bad, page in product(IN_ADDRESSES, PAGES):
            path = page.replace("KEY", key).replace("{}", quote(bad, safe="%"))
            for method in ("GET", "HEAD", "POST") if bad == IN_ADDRESSES[0] else ("GET", "POST"):
                answer = client.request(method, path)
                assert answer.status_code < 500, (method, path)
                assert "1337" not in answer.text, path
                assert "X-Y" not in answer.headers
    assert mailing.profile(ADA) == before


FIELDS = {
    "save": ["section", "language", "zone", "frequency"],
    "pause": ["weeks"],
    "change-address": ["address"],
    "reason": ["reason", "comment"],
}


@pytest.mark.parametrize(
    ("path_of", "actions"),
    [
        (Mailing.manage_path, ["save", "pause", "change-address", "reason"]),
        (Mailing.preferences_path, ["save", "pause", "reason"]),
        (Mailing.unsubscribe_path, ["save", "pause", "reason"]),  # any other unsubscribes: RFC 8058
    ],
)
def test_any_form_field_is_handled(
    mailing: Mailing, web_app: FastAPI, path_of: Callable[[Mailing, str], str], actions: list[str]
) -> None:
    path, before = path_of(mailing, ADA), mailing.profile(ADA)
    good = {"section": "1", "language": "en", "zone": "UTC", "frequency": "each", "weeks": "1"}
    with TestClient(web_app, raise_server_exceptions=False) as client:
        for action in actions:
            for field, value in product(FIELDS[action], IN_FIELDS):
                answer = client.post(path, data=good | {"action": action, field: value})
                assert answer.status_code < 500, (action, field, value)
                assert "<script>alert" not in answer.text
            client.post(path, data={"action": "restore"})
    after = mailing.profile(ADA)
    assert (after.preferences.time_zone, after.masked_address, after.subscribed) == (
        "UTC",
        before.masked_address,
        True,
    )
    assert set(after.languages) <= set(after.offered_languages)


def test_newsletter_name_is_escaped_everywhere(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers(f"{ADA};en;")
    hostile = "<script>alert(1)</script></mj-text><mj-include path='/etc/passwd'/>{{7*191}}"
    newsletter = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    newsletter.sections[1].titles["en"] = newsletter.names["en"] = hostile
    apply_newsletter(app.database, newsletter)
    key = app.tokens.make_link_token(Purpose.magic_link, int(datetime.now(UTC).timestamp()), 1)
    with TestClient(create_app(app)) as client:
        for path in ("/", "/subscribe/lumen-basin", f"/k/{key}/lumen-basin", "/archive/lumen-basin/en"):
            page = client.get(path + "?lang=en").text
            assert "<script>alert" not in page
            assert "&lt;script&gt;alert" in page
            assert "{{7*191}}" in page
