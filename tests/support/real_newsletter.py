"""The newsletter that this service was asked for. It is not part of the repository: without it beside the
checkout there is nothing to test."""

import pytest

from mailer.settings import ROOT

NEWSLETTERS_FOLDER = ROOT.parent / "shared" / "newsletters"
REAL_NEWSLETTER = NEWSLETTERS_FOLDER / "regional-newsletter-2018-q1.md"
requires_real_newsletter = pytest.mark.skipif(
    not REAL_NEWSLETTER.exists(), reason="the real newsletter is not beside this checkout"
)
