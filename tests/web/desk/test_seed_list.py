"""The page of a newsletter's seed list."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.newsletter_check import NewsletterError, read_newsletter
from mailer.domain.newsletter_file import to_toml
from mailer.domain.permissions import Role
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.accounts import audit
from mailer.services.newsletters.settings import load_settings
from mailer.store import subscribers
from tests.support.staff import add_account, post, sign_in, words

PAGE = "/desk/newsletters/lumen-basin/seed-list"


@pytest.mark.usefixtures("coordinator")
def test_addresses_are_added_and_removed(client: TestClient, app: Container) -> None:
    assert "Nobody is on the list yet." in words(client, PAGE)
    answer = post(client, PAGE, {"address": "Ann <ann@example.org>", "language": "fr"})
    assert "The address is on the list." in words(client, answer.headers["location"])
    settings = load_settings(app.database, "lumen-basin")
    assert settings.seed_list == {"ann@example.org": "fr"}
    assert read_newsletter(to_toml(settings)).seed_list == settings.seed_list
    post(client, PAGE, {"address": "ann@example.org", "language": "en"})
    assert load_settings(app.database, "lumen-basin").seed_list == {"ann@example.org": "en"}
    with app.database.transaction() as session:
        key = app.tokens.address_hash("ann@example.org")
        subscribers.suppress(session, key, SuppressionReason.complaint, SuppressionSource.staff, "")
    assert "suppressed: gets nothing" in words(client, PAGE)
    answer = post(client, PAGE, {"action": "remove", "address": "ann@example.org"})
    assert answer.headers["location"].endswith("?done=removed")
    assert load_settings(app.database, "lumen-basin").seed_list == {}
    assert len(audit.search(app.database, AuditAction.newsletter_changed, "Amina", None)) == 3


@pytest.mark.usefixtures("coordinator")
def test_what_is_refused_is_kept_in_the_form(client: TestClient) -> None:
    answer = post(client, PAGE, {"address": "not an address", "language": "fr"})
    assert answer.status_code == 400
    assert 'value="not an address"' in answer.text
    answer = post(client, PAGE, {"address": "ann@example.org", "language": "xx"})
    assert (answer.status_code, "Choose a language." in answer.text) == (400, True)
    for number in range(50):
        assert post(client, PAGE, {"address": f"a{number}@example.org", "language": "en"}).status_code == 303
    assert post(client, PAGE, {"address": "ann@example.org", "language": "en"}).status_code == 409


def test_an_author_does_not_see_it(client: TestClient, app: Container, import_issue: Callable[..., int]) -> None:
    import_issue("en")
    add_account(app, "bo@example.org", Role.author)
    sign_in(client, "bo@example.org")
    assert client.get(PAGE).status_code == 403


def test_a_language_must_be_one_of_the_newsletter(app: Container, import_issue: Callable[..., int]) -> None:
    import_issue("en")
    settings = load_settings(app.database, "lumen-basin")
    with pytest.raises(NewsletterError, match="ja is not among languages"):
        read_newsletter(to_toml(settings.model_copy(update={"seed_list": {"ann@example.org": "ja"}})))
