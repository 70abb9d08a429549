"""The seed list of a newsletter: addresses that get every issue in full when it goes out, beside the readers."""

from fastapi import APIRouter, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.errors import UserError
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address
from mailer.services.accounts.staff import Staff
from mailer.services.feedback import suppressions
from mailer.services.newsletters.catalogue import NewsletterSummary
from mailer.services.newsletters.settings import Values, fingerprint, load_settings, save_settings
from mailer.web.dependencies import App
from mailer.web.desk.newsletter import Editor
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm

SEED_LIST = "/desk/newsletters/{newsletter}/seed-list"
router = APIRouter(prefix=SEED_LIST, include_in_schema=False)


@router.get("")
def seed_list_page(app: App, page: PageOf, staff: Editor, newsletter: NewsletterOf, done: str = "") -> Response:
    return _page(app, page, staff, newsletter, done=done)


@router.post("")
def change_seed_list(app: App, page: PageOf, staff: Editor, newsletter: NewsletterOf, form: StaffForm) -> Response:
    """Add an address with its language, or remove one."""
    written = str(form.get("address", "")).strip()[: MAX_ADDRESS_OCTETS + 1]
    adds = form.get("action") != "remove"
    try:
        address = read_address(written)[0]
    except InvalidValue as error:
        return _page(app, page, staff, newsletter, error=message_of(error), form=form, status=400)
    language = str(form.get("language", ""))
    if adds and language not in newsletter.languages:
        return _page(app, page, staff, newsletter, error="language", form=form, status=400)

    def edit(values: Values) -> None:
        values["seed_list"].pop(address, None)
        if adds:
            values["seed_list"][address] = language

    def shown(values: Values) -> None:
        """Return nothing: adding and removing one address undoes nobody's change of another."""

    try:
        save_settings(
            app.database,
            newsletter.slug,
            edit,
            app.catalogues.override_errors,
            staff,
            shown=fingerprint(None),
            part=shown,
        )
    except UserError as error:
        return _page(app, page, staff, newsletter, error=message_of(error), form=form, status=409)
    return page.redirect(page.urls.path(SEED_LIST, newsletter=newsletter.slug), "added" if adds else "removed")


def _page(
    app: Container,
    page: Page,
    staff: Staff,
    newsletter: NewsletterSummary,
    *,
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    seeds = load_settings(app.database, newsletter.slug).seed_list
    hashes = {address: app.tokens.address_hash(read_address(address)[1]) for address in seeds}
    suppressed = suppressions.suppressed_among(app.database, hashes.values())
    return page(
        "desk/seed_list",
        staff,
        status,
        newsletter=newsletter,
        seeds=sorted(seeds.items()),
        suppressed=[address for address, key in hashes.items() if key in suppressed],
        done=done,
        error=error,
        form=form or FormData(),
    )
