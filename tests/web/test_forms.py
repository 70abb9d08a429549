"""Malformed forms."""

import asyncio
import logging
import re
from urllib.parse import urlencode

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from starlette.datastructures import FormData
from starlette.types import Message

from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, MAX_TEXT_CHARS
from mailer.settings import ROOT
from mailer.web.forms import MAX_CHARS, MAX_CONTENT_TYPE_CHARS, MAX_VALUES, read_form
from tests.support.mailing import Mailing

ADA = "ada@example.org"


URLENCODED = "application/x-www-form-urlencoded"


def read(body: bytes, content_type: str = URLENCODED) -> FormData:
    """Return what is read of a posted body."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    scope = {"type": "http", "app": None, "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return asyncio.run(read_form(Request(scope, receive)))


def multipart(**fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return "".join([*parts, "--x--\r\n"]).encode()


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", '"undefined"; x="', "punycode", "rot13"])
def test_unsupported_charset_gives_an_empty_form(mailing: Mailing, client: TestClient, charset: str) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    why = {"action": "reason", "reason": "other", "comment": "\\ud800"}
    client.post(mailing.manage_path(ADA), data={"action": "unsubscribe"})
    answer = client.post(mailing.manage_path(ADA), content=multipart(**why), headers=kind)
    assert answer.status_code == 422
    client.post(mailing.manage_path(ADA), data={"action": "undo"})
    assert client.post(mailing.unsubscribe_path(ADA), content=multipart(**why), headers=kind).status_code == 200
    assert not mailing.profile(ADA).subscribed  # RFC 8058: whatever is posted means to leave


@pytest.mark.parametrize("charset", ["", "; charset=UTF-8", '; charset="utf-8"'])
def test_multipart_is_read_as_utf_8(mailing: Mailing, client: TestClient, charset: str) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary=x{charset}"}
    body = multipart(action="change-address", address="ева@")
    answer = client.post(mailing.manage_path(ADA), content=body, headers=kind)
    assert answer.status_code == 422
    assert 'value="ева@"' in answer.text


def test_every_field_is_cut_to_its_length_at_the_door() -> None:
    long = dict.fromkeys([*MAX_CHARS, "unknown"], "x" * 1500)
    for form in (read(urlencode(long).encode()), read(multipart(**long), "multipart/form-data; boundary=x")):
        assert {name: len(str(value)) for name, value in form.multi_items()} == MAX_CHARS
    assert MAX_CHARS["name"] == MAX_TEXT_CHARS
    assert MAX_CHARS["address"] > MAX_ADDRESS_OCTETS  # a cut address is no address


def test_every_field_of_the_pages_has_a_length() -> None:
    names = set()
    for template in (ROOT / "templates" / "web" / "public").glob("*.html"):
        for tag in re.findall(r"<(?:input|select|textarea|button)[^<>]*", template.read_text("utf-8")):
            names |= set(re.findall(r'\bname="(\w+)"', tag))
        names |= set(re.findall(r'\bcheckbox\("(\w+)"', template.read_text("utf-8")))
    assert {"address", "section", "comment", "sure"} <= names
    assert names <= set(MAX_CHARS)


@pytest.mark.parametrize("content_type", [URLENCODED, "multipart/form-data; boundary=x"])
def test_a_long_content_type_is_no_form(content_type: str) -> None:
    body = urlencode({"action": "reason"}).encode() if content_type == URLENCODED else multipart(action="reason")
    padding = ";" * (MAX_CONTENT_TYPE_CHARS - len(content_type))
    assert read(body, content_type + padding).get("action") == "reason"
    assert not read(body, content_type + padding + ";")


def test_a_form_with_too_many_values_is_empty() -> None:
    pairs = [("section", "1")] * MAX_VALUES
    assert len(read(urlencode(pairs).encode()).getlist("section")) == MAX_VALUES
    assert not read(urlencode([*pairs, ("section", "1")]).encode())


def test_an_address_of_combining_marks_is_refused(mailing: Mailing, client: TestClient) -> None:
    form = {"action": "change-address", "address": "e" + "\u0301" * 10_000 + "@example.org"}
    answer = client.post(mailing.manage_path(ADA), data=form)
    assert answer.status_code == 422
    assert answer.text.count("\u0301") < MAX_CHARS["address"]
    assert client.post("/subscribe/lumen-basin", data=form).status_code == 422


def test_a_malformed_form_is_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/subscribe/lumen-basin", content=b"--x\r\nWORDS OF A STRANGER", headers=kind).status_code == 422
    assert not [record for record in caplog.records if record.name.startswith("python_multipart")]
    assert not logging.getLogger("python_multipart.multipart").isEnabledFor(logging.ERROR)
