"""A real newsletter that is not part of the repository. Its tests are skipped if it is missing."""

import pytest

from mailer.settings import ROOT

NEWSLETTERS_FOLDER = ROOT.parent / "shared" / "newsletters"
REAL_NEWSLETTER = NEWSLETTERS_FOLDER / "regional-newsletter-2018-q1.md"
requires_real_newsletter = pytest.mark.skipif(
    not REAL_NEWSLETTER.exists(), reason="the real newsletter is not beside this checkout"
)
