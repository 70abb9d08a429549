"""The command ``mailer dkim``: generate signing keys."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from mailer.cli.errors import UsageError
from mailer.domain.dkim import KeyKind

commands = typer.Typer(no_args_is_help=True, help="DKIM keys, if your relay does not sign.")
_MAX_TXT_STRING_BYTES = 255
"""Maximum length of one string in a TXT record (RFC 1035 section 3.3)."""


@commands.command("key")
def key(
    domain: Annotated[str, typer.Option(help="Domain of the sender's address.")],
    selector: Annotated[str, typer.Option(help="Name of this key in DNS, such as s2026.")],
    kind: Annotated[
        KeyKind, typer.Option(help="Key type. Every receiver supports rsa; some support ed25519.")
    ] = KeyKind.rsa,
    file: Annotated[Path | None, typer.Option(help="File for the private key. Default: SELECTOR.DOMAIN.pem.")] = None,
) -> None:
    """Generate a DKIM key. Print the DNS record and the setting."""
    from pydantic import ValidationError

    from mailer.adapters.dkim import Key, new_private_key
    from mailer.settings_values import DkimKeySettings

    try:
        settings = DkimKeySettings(domain=domain, selector=selector, key_file=file or Path(f"{selector}.{domain}.pem"))
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"--{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}.") from None
    pem = new_private_key(kind)
    public_key = Key(domain, selector, pem)
    # O_EXCL: a second run must not overwrite a key that is in use.
    with os.fdopen(os.open(settings.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(pem)
    record = public_key.txt_record
    strings = [f'"{record[at : at + _MAX_TXT_STRING_BYTES]}"' for at in range(0, len(record), _MAX_TXT_STRING_BYTES)]
    setting = json.dumps([settings.model_dump(mode="json") | {"key_file": str(settings.key_file.resolve())}])
    print(f"The private key is in {settings.key_file}, readable only by its owner.\n")
    print(f"1. Publish this TXT record:\n\n{public_key.txt_name}.\n{record}\n")
    if len(strings) > 1:
        print(f"   In a zone file, where a string has at most {_MAX_TXT_STRING_BYTES} characters:\n")
        print(f"{public_key.txt_name}. IN TXT ( {' '.join(strings)} )\n")
    print("2. Once DNS shows the record, set this. Put several keys into one list:\n")
    print(f"MAILER_DKIM={setting}")
