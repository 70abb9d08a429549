"""mailer dkim …"""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from mailer.adapters.dkim import Key, KeyKind, new_private_key
from mailer.cli.errors import UsageError
from mailer.settings import DkimKeySettings

commands = typer.Typer(no_args_is_help=True, help="Keys that sign the mail, for those whose relay does not.")
_MAX_TXT_STRING_BYTES = 255
"""Most bytes of one string in a TXT record (RFC 1035 section 3.3.14)."""


@commands.command("key")
def key(
    domain: Annotated[str, typer.Option(help="The sender's domain, as after the @ of its address.")],
    selector: Annotated[str, typer.Option(help="A name of this key in DNS, such as s2026.")],
    kind: Annotated[KeyKind, typer.Option(help="Every receiver knows rsa; some know ed25519.")] = KeyKind.rsa,
    file: Annotated[
        Path | None, typer.Option(help="Where the private key goes; SELECTOR.DOMAIN.pem without it.")
    ] = None,
) -> None:
    """Make a key, and say what to publish in DNS and what to set."""
    try:
        made = DkimKeySettings(
            domain=domain, selector=selector, key_file=file or Path(f"{selector}.{domain}.pem")
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UsageError(f"--{wrong['loc'][0]}: {wrong['msg'].removeprefix('Value error, ')}.") from None
    pem = new_private_key(kind)
    published = Key(domain, selector, pem)
    # O_EXCL: a key that signs already must never be lost by a second run.
    with os.fdopen(os.open(made.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(pem)
    record = published.txt_record
    strings = [
        f'"{record[at : at + _MAX_TXT_STRING_BYTES]}"' for at in range(0, len(record), _MAX_TXT_STRING_BYTES)
    ]
    setting = json.dumps([made.model_dump(mode="json") | {"key_file": str(made.key_file.resolve())}])
    print(f"The private key is in {made.key_file}, for its owner only.\n")
    print(f"1. Publish this TXT record:\n\n{published.txt_name}.\n{record}\n")
    if len(strings) > 1:
        print(f"   In a zone file, where a string holds {_MAX_TXT_STRING_BYTES} characters at most:\n")
        print(f"{published.txt_name}. IN TXT ( {' '.join(strings)} )\n")
    print("2. When it can be seen, set this; several keys are one list of them all:\n")
    print(f"MAILER_DKIM={setting}")
