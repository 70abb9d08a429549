from itertools import pairwise

import pytest

from mailer.domain.states import EDITABLE_STATES, InvalidIssueState, IssueAction, IssueState, check_transition

S = IssueState


@pytest.mark.parametrize(
    "way",
    [
        [S.draft, S.review, S.approved, S.scheduled, S.sending, S.sent],
        [S.draft, S.approved, S.draft],
        [S.approved, S.scheduled, S.approved, S.draft, S.review, S.draft],
        [S.sending, S.paused, S.sending, S.paused, S.cancelled],
        [S.sent, S.sending],
    ],
)
def test_allowed_transitions(way: list[IssueState]) -> None:
    for now, to in pairwise(way):
        check_transition(1, now, to)


@pytest.mark.parametrize("now", [S.draft, S.review, S.approved, S.scheduled, S.sending, S.paused])
def test_unfinished_issues_can_be_cancelled(now: IssueState) -> None:
    check_transition(1, now, S.cancelled)


@pytest.mark.parametrize("to", list(S))
def test_cancelled_is_final(to: IssueState) -> None:
    with pytest.raises(InvalidIssueState, match="Issue 7 is cancelled"):
        check_transition(7, S.cancelled, to)


def test_only_what_is_approved_is_scheduled_and_the_message_says_how() -> None:
    for now in set(S) - {S.approved}:
        with pytest.raises(InvalidIssueState) as refused:
            check_transition(7, now, S.scheduled)
        assert (refused.value.remedies == (IssueAction.approve,)) == (now in (S.draft, S.review))


def test_sending_and_sent_have_few_predecessors() -> None:
    assert {S.draft, S.review} == EDITABLE_STATES
    for now in set(S) - {S.scheduled, S.paused, S.sent}:
        with pytest.raises(InvalidIssueState):
            check_transition(1, now, S.sending)
    for now in set(S) - {S.sending}:
        with pytest.raises(InvalidIssueState):
            check_transition(1, now, S.sent)
    for now in (S.scheduled, S.sending, S.paused, S.sent):
        with pytest.raises(InvalidIssueState):
            check_transition(1, now, S.draft)
