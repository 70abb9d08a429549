"""The command ``mailer account``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant

commands = typer.Typer(no_args_is_help=True, help="Create accounts for the desk and the control room, and list them.")


@commands.command("create")
def create(
    address: Annotated[str, typer.Argument(help="The email address to sign in with.")],
    name: Annotated[str, typer.Option(help="The person's name.")] = "",
    role: Annotated[Role, typer.Option(help="What the account may do, for all newsletters.")] = Role.administrator,
    password: Annotated[
        str,
        typer.Option(envvar="MAILER_ACCOUNT_PASSWORD", help="Asked for if missing."),
    ] = "",
) -> None:
    """Create an account: the first administrator, who then invites the others from the desk."""
    from mailer.cli.options import current_user
    from mailer.services.accounts import people

    if not password:
        password = typer.prompt("Password, at least 12 characters", hide_input=True, confirmation_prompt=True)
    with Container() as app:
        people.create_account(
            app.database,
            app.passwords,
            address,
            name or address.partition("@")[0],
            password,
            [RoleGrant(role)],
            datetime.now(UTC),
            f"command line: {current_user()}",
        )
        url = app.urls.absolute(app.urls.path("/sign-in"))
    print(f"{address} is {role.value} now. Sign in at {url}")


@commands.command("list")
def list_() -> None:
    """List the accounts and their roles."""
    from rich.table import Table

    from mailer.cli.console import make_console
    from mailer.services.accounts import people

    with Container() as app:
        rows = people.list_people(app.database)
    if not rows:
        print("There are no accounts yet. Create the first with: mailer account create ADDRESS")
        return
    table = Table("address", "name", "roles", "state")
    for person in rows:
        state = "disabled" if person.is_disabled else "invited" if person.is_invited else "active"
        roles = ", ".join(grant.role.value for grant in person.grants)
        table.add_row(person.address, person.name, roles, state)
    make_console().print(table)
