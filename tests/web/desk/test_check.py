"""The check of an issue as a page: findings in the language of staff, and lookups in the network."""

import re
from collections.abc import Callable, Iterable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from mailer.bootstrap import Container
from mailer.domain.network_checks import LookupOutcome, LookupResult
from mailer.domain.staff_texts import gettext
from mailer.models import Account, Newsletter
from mailer.services.issues import compile, network_checks
from tests.support.staff import post, text_of, words

LINK = "https://example.org/dead"


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    """The sample issue as a draft in English, with two readers."""
    number = import_issue("en")
    add_subscribers("ada@example.org;en;\nbo@example.org;en;water-and-rivers")
    return number


def look_up(app: Container, issue: int) -> None:
    """Carry out the order as a worker does, with one dead link, and DNS that does not answer."""

    async def links(urls: Iterable[str], save: Callable[[str, LookupResult], None]) -> None:
        for at, url in enumerate(urls):
            gone = LookupResult(LookupOutcome.broken, gettext("there is no such page (%(status)s)", status="404"))
            save(url, LookupResult(LookupOutcome.works) if at else gone)

    async def deaf(_: str) -> list[str]:
        raise OSError

    source = compile.load_issue(app.database, app.urls, issue)
    tools = network_checks.NetworkTools(links, deaf, [])
    assert network_checks.look_up(app.database, source, source.sender_domain, tools, app.clock)


@pytest.mark.usefixtures("coordinator")
def test_links_are_looked_up_by_a_worker_and_shown(client: TestClient, app: Container, issue: int) -> None:
    page = f"/desk/issues/{issue}/check"
    before = client.get(page).text
    assert "Nothing has been looked up yet." in before and "live.js" not in before
    answer = post(client, f"/desk/issues/{issue}/network-checks", {})
    assert answer.headers["location"].endswith("/check#network")
    running = client.get(page).text
    assert "Looking up: 0 of" in running and "live.js" in running
    refreshed = client.get(page, headers={"X-Refresh": "1"}).text
    assert "Looking up: 0 of" in refreshed
    assert 'id="findings"' not in refreshed, "editions are not rendered for each look at the progress"
    assert "moment ago" in post(client, f"/desk/issues/{issue}/network-checks", {}).text

    look_up(app, issue)
    done = client.get(page, headers={"X-Refresh": "1"}).text
    assert 'id="findings"' in done and "data-live" not in done, "the script swaps them for the last time"
    text = text_of(done)
    assert re.search(r"English: the link to \S+ does not work: there is no such page \(404\)\.", text)
    assert re.search(r"[12] readers? · [12] editions? looked up", text)
    assert "1 does not work" in text
    assert "SPF of lumen-basin.example.org was not checked: DNS did not answer." in text


@pytest.mark.usefixtures("coordinator")
@pytest.mark.settings(network_checks=False)
def test_host_without_a_network_offers_no_lookup(client: TestClient, issue: int) -> None:
    text = words(client, f"/desk/issues/{issue}/check")
    assert "switched off on this server" in text and "Look them up" not in text
    assert post(client, f"/desk/issues/{issue}/network-checks", {}).status_code == 404


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("fr", "La lettre d’information n’a pas d’adresse postale"),
        ("sr-Latn", "Bilten nema poštansku adresu; svaka poruka mora da je sadrži."),
    ],
)
def test_findings_are_in_the_language_of_staff(
    client: TestClient, app: Container, issue: int, coordinator: int, language: str, expected: str
) -> None:
    with app.database.transaction() as session:
        session.execute(update(Account).where(Account.id == coordinator).values(language=language))
        session.execute(update(Newsletter).values(postal_address=""))
    for page in ("/check", ""):
        text = words(client, f"/desk/issues/{issue}{page}")
        assert expected in text
        assert "postal address" not in text


@pytest.mark.usefixtures("issue")
def test_explanation_and_log_are_in_the_language_of_staff(
    client: TestClient, app: Container, issue: int, coordinator: int
) -> None:
    with app.database.transaction() as session:
        session.execute(update(Account).where(Account.id == coordinator).values(language="fr"))
    text = words(client, f"/desk/issues/{issue}/reader?address=ada%40example.org").replace("\xa0", " ")
    assert "ada@example.org lit : anglais." in text
    assert "Consentement donné le 2 janvier 2026. Moyen : une importation" in text
    assert "S’il partait maintenant, cette personne le recevrait." in text
    assert "document importé" in words(client, f"/desk/issues/{issue}/report")
