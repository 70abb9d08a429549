"""Imports of readers: uploaded, shown as understood, imported, and the rejected lines."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import import_jobs
from tests.conftest import SAMPLE
from tests.support.staff import SAME_ORIGIN, add_account, form_token_of, post, sign_in, text_of

PATH = "/desk/newsletters/lumen-basin/subscribers"
LINES = """address,name,languages,consent_source,consent_date
ada@example.org,Ada,fr,letter,2024-01-01
leila@example.net,,ar,form,2025-02-03
wrong,,,form,2024-01-01
"""


@pytest.fixture
def run_worker(
    app: Container, client: TestClient, add_subscribers: Callable[[str], None], tmp_path: Path
) -> Callable[[], bool]:
    """A worker, one known reader, and a coordinator who is signed in."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    add_subscribers("ada@example.org;en;")
    add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")
    return lambda: import_jobs.run_next(app.database, tmp_path, app.tokens.hmac_pads(), app.clock)


def upload(client: TestClient, content: str | None) -> str:
    """Upload a list; return where its page is, or the page of an error."""
    token = form_token_of(client.get(f"{PATH}/import").text)
    files = {"list": ("readers.csv", content)} if content is not None else {"other": ("x", "x")}
    answer = client.post(f"{PATH}/import", data={"form_token": token}, files=files, headers=SAME_ORIGIN)
    return answer.headers["location"] if answer.status_code == 303 else text_of(answer.text)


def test_a_list_is_uploaded_looked_over_and_imported(client: TestClient, run_worker: Callable[[], bool]) -> None:
    assert f"{PATH}/import" in client.get(PATH).text
    page = upload(client, LINES)
    html = client.get(page).text
    assert "It waits for a worker." in html and "live.js" in html and "<progress" in html
    assert 'id="import" class="stack" data-live' in html
    run_worker()
    assert "data-live" not in client.get(page).text
    text = text_of(client.get(page).text)
    assert "Lines New here Known Rejected 3 1 1 1" in text
    assert "Also change 1 known reader" in text and "Languages en → fr" in text
    assert "العربية : 1" in text and "letter: 1" in text and "Consents from 2024-01-01 to 2025-02-03." in text
    assert "Import 2 lines" in text and "leila@example.net" not in client.get(PATH).text
    assert client.get(f"{page}/rejects.csv").status_code == 404
    assert post(client, page, {"action": "import", "update": "1"}).status_code == 303
    run_worker()
    text = text_of(client.get(page).text)
    assert "Lines Added Known Suppressed Rejected 3 1 1 0 1" in text and "1 known reader changed" in text
    assert "leila@example.net" in client.get(PATH).text
    rejects = client.get(f"{page}/rejects.csv")
    assert "wrong" in rejects.text and "attachment" in rejects.headers["content-disposition"]
    assert "readers.csv" in text_of(client.get(f"{PATH}/import").text)
    again = post(client, page, {"action": "cancel"})
    assert again.status_code == 409 and "This import has ended already." in again.text


def test_what_cannot_be_imported_is_said_in_words(client: TestClient, run_worker: Callable[[], bool]) -> None:
    assert "Choose a file." in upload(client, None)
    assert "The file is empty." in upload(client, "")
    page = upload(client, "a;b\n1;2\n")
    run_worker()
    assert "There is no column address" in text_of(client.get(page).text)
    page = upload(client, LINES.splitlines()[0] + "\nwrong,,,form,2024-01-01\n")
    run_worker()
    assert "No line can be imported." in text_of(client.get(page).text)
    assert post(client, page, {"action": "cancel"}).status_code == 303
    assert "Nothing was written." in text_of(client.get(page).text)
    assert post(client, page, {"action": "nonsense"}).status_code == 400
    for number in ("0", "99999", str(2**70)):
        assert client.get(f"{PATH}/import/{number}").status_code == 404
