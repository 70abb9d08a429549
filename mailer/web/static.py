"""Style sheets and scripts. Their URLs contain a hash of the content, so that browsers can cache them forever."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from mailer.domain.urls import STATIC_FILES

WEB_TEMPLATES = Path(__file__).parents[2] / "templates" / "web"


@cache
def static_url(name: str) -> str:
    """Return the URL of a file in ``templates/web/static``: ``/static/base.css?v=…``. Raises FileNotFoundError."""
    content = (WEB_TEMPLATES / "static" / name).read_bytes()
    return f"{STATIC_FILES}/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


class StaticAssets(StaticFiles):
    """The app to mount at ``/static``. Responses to URLs with a hash are immutable."""

    def __init__(self) -> None:
        super().__init__(directory=WEB_TEMPLATES / "static")

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        scope = args[2]
        hashed = scope["query_string"].startswith(b"v=")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
