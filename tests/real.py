"""The newsletter that this service was asked for. It is not part of the repository: without it beside the
checkout there is nothing to test."""

import pytest

from mailer.settings import ROOT

NEWSLETTERS = ROOT.parent / "shared" / "newsletters"
REAL = NEWSLETTERS / "regional-newsletter-2018-q1.md"
needs_it = pytest.mark.skipif(not REAL.exists(), reason="the real newsletter is not beside this checkout")
