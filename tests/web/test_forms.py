"""Malformed forms."""

import pytest
from fastapi.testclient import TestClient

from tests.support.mailing import Mailing

ADA = "ada@example.org"


def multipart(**fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return "".join([*parts, "--x--\r\n"]).encode()


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", '"undefined"; x="', "punycode", "rot13"])
def test_unsupported_charset_gives_an_empty_form(mailing: Mailing, client: TestClient, charset: str) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    why = {"action": "why", "why": "other", "words": "\\ud800"}
    client.post(mailing.manage_path(ADA), data={"action": "leave"})
    answer = client.post(mailing.manage_path(ADA), content=multipart(**why), headers=kind)
    assert answer.status_code == 422
    client.post(mailing.manage_path(ADA), data={"action": "undo"})
    assert client.post(mailing.unsubscribe_path(ADA), content=multipart(**why), headers=kind).status_code == 200
    assert not mailing.profile(ADA).subscribed  # RFC 8058: whatever is posted means to leave


@pytest.mark.parametrize("charset", ["", "; charset=UTF-8", '; charset="utf-8"'])
def test_multipart_is_read_as_utf_8(mailing: Mailing, client: TestClient, charset: str) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary=x{charset}"}
    body = multipart(action="move", address="ева@")
    answer = client.post(mailing.manage_path(ADA), content=body, headers=kind)
    assert answer.status_code == 422
    assert 'value="ева@"' in answer.text
