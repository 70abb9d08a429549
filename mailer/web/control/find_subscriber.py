"""Finding a reader: what is known of an address, and what became of each issue."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from mailer.domain import urls
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Permission
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import resolve
from mailer.services.subscribers import personal_data
from mailer.web.control.snapshots import Operator
from mailer.web.dependencies import App, Now
from mailer.web.staff import PageOf, Requires

router = APIRouter(include_in_schema=False)
AddressViewer = Annotated[Staff, Depends(Requires(Permission.read_addresses))]
ISSUES = 20


@router.get(urls.FIND_SUBSCRIBER)
def find_subscriber(app: App, page: PageOf, now: Now, staff: Operator, _: AddressViewer, address: str = "") -> Response:
    address = address.strip()[: MAX_ADDRESS_OCTETS + 1]
    sentences: list[str] = []
    deliveries: list[resolve.DeliveryListItem] = []
    error = False
    if address:
        try:
            address_hash = app.tokens.address_hash(read_address(address)[1])
        except InvalidValue:
            error = True
        else:
            sentences = personal_data.summarize(personal_data.export(app.database, address_hash))
            subscriber, deliveries = resolve.latest_deliveries(app.database, address_hash, ISSUES)
            if sentences:
                audit.record(app.database, staff, now, AuditAction.subscriber_opened, "subscriber", subscriber)
    return page(
        "control/find_subscriber",
        staff,
        400 if error else 200,
        address=address,
        sentences=sentences,
        deliveries=deliveries,
        error=error,
    )
