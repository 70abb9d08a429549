"""Tokens are short, opaque, bound to one purpose and readable forever."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from mailer.adapters.tokens import Purpose, Tokens
from mailer.adapters.urls import Urls
from mailer.store.database import Database

TOKENS = Tokens(["k" * 32])
_ISSUE = st.integers(1, 2**32 - 1)
_SUBSCRIBER = st.integers(1, 2**63 - 1)


@given(st.sampled_from(Purpose), _ISSUE, _SUBSCRIBER)
def test_token_has_22_characters_and_is_valid_only_for_its_purpose(
    purpose: Purpose, issue: int, subscriber: int
) -> None:
    token = TOKENS.make_link_token(purpose, issue, subscriber)
    assert len(token) == 22
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert token == TOKENS.make_link_token(purpose, issue, subscriber)
    assert TOKENS.read_link_token(purpose, token) == (issue, subscriber)
    for other in set(Purpose) - {purpose}:
        assert TOKENS.read_link_token(other, token) is None


def test_no_two_tokens_are_the_same() -> None:
    made = {
        TOKENS.make_link_token(purpose, issue, subscriber)
        for purpose in Purpose
        for issue in (1, 2, 256, 2**32 - 1)
        for subscriber in range(1, 1000)
    }
    assert len(made) == len(Purpose) * 4 * 999


def test_a_reader_has_the_same_token_in_links_and_in_mail_addresses() -> None:
    links = Urls("https://news.example.org/", TOKENS)
    slots = list(links.subscriber_slots(7, [11, 12]))
    assert [slot.unsubscribe for slot in slots] == [TOKENS.make_link_token(Purpose.unsubscribe, 7, n) for n in (11, 12)]
    assert [slot.preferences for slot in slots] == [TOKENS.make_link_token(Purpose.preferences, 7, n) for n in (11, 12)]
    for subscriber, slot in zip((11, 12), slots, strict=True):
        by_mail = {
            Purpose.unsubscribe: slot.mail_unsubscribe,
            Purpose.bounce: slot.bounce,
            Purpose.message: slot.message,
        }
        for purpose, token in by_mail.items():
            # Letter case may be lost on the way through mail servers.
            assert (
                TOKENS.read_mail_token(purpose, token)
                == TOKENS.read_mail_token(purpose, token.upper())
                == (7, subscriber)
            )
            assert token == token.lower()
            assert len(f"unsubscribe+{token}") <= 64, "RFC 5321 4.5.3.1.1: the local part"
            assert TOKENS.read_mail_token(Purpose.confirm, token) is None


def test_tokens_of_earlier_keys_are_read_and_new_ones_made_with_the_first() -> None:
    old, new = Tokens(["o" * 32]), Tokens(["n" * 32, "m" * 32, "o" * 32])
    token = old.make_link_token(Purpose.unsubscribe, 3, 4)
    assert new.read_link_token(Purpose.unsubscribe, token) == (3, 4)
    fresh = new.make_link_token(Purpose.unsubscribe, 3, 4)
    assert fresh == Tokens(["n" * 32]).make_link_token(Purpose.unsubscribe, 3, 4)
    assert old.read_link_token(Purpose.unsubscribe, fresh) is None


@given(st.sampled_from(Purpose), _ISSUE, _SUBSCRIBER, st.integers(0, 21), st.characters(codec="ascii"))
def test_modified_token_is_invalid(purpose: Purpose, issue: int, subscriber: int, at: int, other: str) -> None:
    token = TOKENS.make_link_token(purpose, issue, subscriber)
    changed = token[:at] + other + token[at + 1 :]
    if changed != token:
        assert TOKENS.read_link_token(purpose, changed) is None


@given(st.sampled_from(Purpose), st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True))
def test_random_tokens_are_invalid(purpose: Purpose, text: str) -> None:
    assert TOKENS.read_link_token(purpose, text) is None
    assert TOKENS.read_mail_token(purpose, text) is None


def test_sql_computes_the_same_address_hash(database: Database) -> None:
    inner, outer = TOKENS.hmac_pads()
    query = text("SELECT substr(sha256(:outer || sha256(:inner || convert_to(:address, 'UTF8'))), 1, 16)")
    with database.transaction() as session:
        for address in ("ann@example.org", "ана@пример.example", "x" * 300 + "@example.org"):
            found = session.scalar(query, {"inner": inner, "outer": outer, "address": address})
            assert found == TOKENS.address_hash(address)


def test_address_hashes_survive_key_rotation_and_need_the_key() -> None:
    before, after = Tokens(["o" * 32]), Tokens(["n" * 32, "o" * 32])
    assert before.address_hash("ann@example.org") == after.address_hash("ann@example.org")
    assert Tokens(["n" * 32]).address_hash("ann@example.org") != before.address_hash("ann@example.org")
    assert len(before.address_hash("ann@example.org")) == 16
