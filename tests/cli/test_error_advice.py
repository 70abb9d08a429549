"""Errors name the commands that help."""

import pytest

from mailer.cli.errors import describe
from mailer.domain.errors import NewsletterNotFound
from mailer.domain.states import InvalidIssueState, IssueAction


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            InvalidIssueState("Issue 7 is draft.", 7, [IssueAction.approve]),
            "Issue 7 is draft. Approve it first: mailer issue approve 7.",
        ),
        (
            InvalidIssueState("Issue 7 is scheduled.", 7, [IssueAction.unschedule, IssueAction.reopen]),
            "Issue 7 is scheduled. Unschedule it: mailer issue unschedule 7. "
            "Withdraw the approval: mailer issue reopen 7.",
        ),
        (
            InvalidIssueState("Issue 7 is sending.", 7, [IssueAction.cancel]),
            "Issue 7 is sending. Stop the emails that are not sent yet: mailer issue cancel 7.",
        ),
        (InvalidIssueState("Issue 7 is sent.", 7), "Issue 7 is sent."),
        (
            NewsletterNotFound("x", []),
            "There is no newsletter “x”. There is: none yet. Create one with: mailer newsletter new SLUG.",
        ),
        (NewsletterNotFound("x", ["lumen"]), "There is no newsletter “x”. There is: lumen."),
    ],
)
def test_error_names_the_commands_that_help(error: Exception, message: str) -> None:
    assert describe(error) == message
