"""The naive sender of bench/send.py: one Celery task per reader, EmailMessage and smtplib."""

import os
import smtplib
from email.message import EmailMessage

from celery import Celery

app = Celery("naive", broker=os.environ.get("NAIVE_REDIS_URL", "").replace("unix://", "redis+socket://"))
BODY = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod te\n"


@app.task(name="naive.send", ignore_result=True)  # type: ignore[untyped-decorator]
def send(number: int, port: int, size: int) -> None:
    """Build the message of one reader and send it."""
    message = EmailMessage()
    message["From"], message["To"] = "bench@example.org", f"Reader {number} <reader{number}@example.org>"
    message["Subject"], message["Message-ID"] = "Bench", f"<{number}@example.org>"
    message.set_content(BODY * 20)
    message.add_alternative(BODY * (size // len(BODY) - 20), subtype="html")
    with smtplib.SMTP("127.0.0.1", port) as relay:
        relay.send_message(message)
