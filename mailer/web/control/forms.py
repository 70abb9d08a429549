"""What the forms of the control room have in common."""

from starlette.datastructures import FormData

MAX_REASON_CHARS = 200


def read_reason(form: FormData) -> str:
    """Return why somebody does something, on one line; empty if they do not say."""
    return " ".join(str(form.get("reason", "")).replace("\0", "").split())[:MAX_REASON_CHARS]
