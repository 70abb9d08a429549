"""A truncated journal never causes a second transfer of a message."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.decisions import decide_from_journal
from mailer.domain.journal import read_journal
from mailer.domain.outcomes import Reply
from mailer.domain.states import DeliveryState

NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)


def test_lines_are_parsed() -> None:
    found = read_journal("D 1\nD 2\nA 1 250 2.0.0 Ok: queued as D 7\nD 3\nW 3\nA 2 451\n")
    assert found.final_dot_sent == {1, 2}
    assert found.replies == {1: Reply(250, "2.0.0", "Ok: queued as D 7"), 2: Reply(451, "", "")}


def test_truncated_line_is_ignored() -> None:
    assert read_journal("D 1\nD 2").final_dot_sent == {1}
    assert read_journal("D 12\nA 12 25").replies == {}
    assert read_journal("D 12\nA 12 250 2.0.0 O").replies == {}
    assert read_journal("D 12\nW 1").final_dot_sent == {12}
    assert read_journal("") == read_journal("D") == read_journal("D ")


def test_a_second_try_makes_an_earlier_refusal_void() -> None:
    found = read_journal("D 1\nA 1 452 4.5.3 too many messages\nD 1\n")
    assert found.final_dot_sent == {1}
    assert found.replies == {}


def test_invalid_lines_are_ignored() -> None:
    assert read_journal("\nD x\nZ 1\nD 1?\nD 4\n�\n").final_dot_sent == {4}


_REPLIES = st.builds(
    Reply,
    st.sampled_from([250, 251, 354, 421, 451, 550, 552, 554]),
    st.sampled_from(["", "2.0.0", "4.3.0", "5.1.1", "5.7.1"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.strip),
)
_FATES = st.one_of(st.just("withheld"), st.just("silence"), _REPLIES)


@given(
    st.dictionaries(st.integers(1, 10**12), _FATES, min_size=1, max_size=8),
    st.data(),
)
def test_truncated_journal_never_causes_a_resend(fates: dict[int, str | Reply], data: st.DataObject) -> None:
    # As a worker writes it: answers come later than the dot, in any order among the other messages.
    steps: dict[int, list[str]] = {}
    for key, fate in fates.items():
        second = {"withheld": [f"W {key}\n"], "silence": []}.get(str(fate), [f"A {key} {fate}\n"])
        steps[key] = [f"D {key}\n", *second]
    lines: list[tuple[int, str]] = []
    while steps:
        key = data.draw(st.sampled_from(sorted(steps)))
        lines.append((key, steps[key].pop(0)))
        if not steps[key]:
            del steps[key]
    whole = "".join(line for _, line in lines)
    cut = data.draw(st.integers(0, len(whole)))

    # The worker writes D before the dot: it went out for whom the whole D line stands, unless W follows.
    dotted: dict[int, str | Reply] = {}
    at = 0
    for key, line in lines:
        complete = at + len(line) <= cut
        at += len(line)
        if line.startswith("D") and complete and fates[key] != "withheld":
            dotted[key] = fates[key]
    answered = read_journal(whole).replies
    evidence = read_journal(whole[:cut])
    for key in fates:
        reply = evidence.replies.get(key)
        ruling = decide_from_journal(key in evidence.final_dot_sent, reply, NOW, timedelta(minutes=2))
        if key not in dotted:
            # The journal may doubt it (no W yet), but never claims that it was sent.
            assert ruling.state in (DeliveryState.pending, DeliveryState.uncertain)
        elif ruling.state is DeliveryState.pending:
            assert reply == answered[key]
            assert answered[key].code >= 400, "sent again only when the relay has said that it did not take it"
        elif ruling.state is DeliveryState.sent:
            assert 200 <= answered[key].code < 300
