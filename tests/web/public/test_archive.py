"""Web views, pictures and the start page."""

import hashlib

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from mailer.adapters.tokens import Purpose
from mailer.models import Edition, Picture
from tests.support.mailing import Mailing


@pytest.mark.parametrize("language", ["en", "ar"])
def test_web_view_has_no_personal_data(mailing: Mailing, client: TestClient, language: str) -> None:
    answer = client.get(mailing.web_view_path(language))
    assert answer.status_code == 200
    assert answer.headers["Content-Language"] == language
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' http://news.example.org;"
        " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert f'lang="{language}"' in answer.text
    assert "ada@example.org" not in answer.text
    assert "/u/" not in answer.text
    assert "/p/" not in answer.text
    assert "/e/" not in answer.text


def test_web_view_needs_its_own_issue_and_a_rendering(mailing: Mailing, client: TestClient) -> None:
    def status(issue: int, number: int) -> int:
        token = mailing.app.tokens.make_link_token(Purpose.web_view, issue, number)
        return client.get("/e/" + token).status_code

    with mailing.app.database.transaction() as session:
        edition = session.scalars(select(Edition)).first()
        assert edition
    assert status(mailing.issue, edition.id) == 200
    assert status(mailing.issue + 1, edition.id) == 404
    assert status(mailing.issue, 999) == 404
    with mailing.app.database.transaction() as session:
        session.execute(update(Edition).values(html=""))
    assert status(mailing.issue, edition.id) == 404


def test_pictures_are_immutable(mailing: Mailing, client: TestClient) -> None:
    with mailing.app.database.transaction() as session:
        pictures = session.scalars(select(Picture)).all()
    assert pictures
    for picture in pictures:
        path = f"/pictures/{picture.sha256[:32]}.jpg"
        answer = client.get(path)
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == picture.sha256
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert client.head(path).headers["Content-Length"] == str(len(answer.content))


def test_invalid_picture_urls_are_not_found(mailing: Mailing, client: TestClient) -> None:
    with mailing.app.database.transaction() as session:
        found = session.scalars(select(Picture.sha256)).all()
    sha256 = next(sha256 for sha256 in found if sha256[:32] != sha256[:32].upper())
    names = (sha256[:31], sha256, sha256[:32].upper(), "0" * 32, "%25", sha256[:16] + "%", "")
    for path in [f"{sha256[:32]}.png", sha256[:32], *(f"{name}.jpg" for name in names)]:
        assert client.get(f"/pictures/{path}").status_code == 404, path


def test_the_start_page_names_the_newsletters_in_the_browsers_language(mailing: Mailing, client: TestClient) -> None:
    assert "The Lumen Basin Quarterly" in client.get("/").text
    french = client.get("/", headers={"Accept-Language": "de;q=0.5, fr-CH, *;q=0.1"}).text
    assert '<html lang="fr" dir="ltr">' in french
    assert "Le Trimestriel du bassin du Lumen" in french
    assert '<html lang="ar" dir="rtl">' in client.get("/?lang=ar", headers={"Accept-Language": "fr"}).text
