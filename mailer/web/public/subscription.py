"""The pages and actions of a subscription, for the links in any email and for magic links.

Each action of a form is a function that takes the visit and the form, and returns the next page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fastapi import HTTPException
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.bootstrap import Container
from mailer.domain.consents import ConsentChannel
from mailer.domain.locales import native_name
from mailer.domain.localized import N_
from mailer.domain.preferences import NothingChosen, NotOffered, Preferences, section_mask
from mailer.domain.states import Frequency
from mailer.domain.subscriber_fields import read_form_name
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.domain.time_zones import COMMON_TIME_ZONES
from mailer.services.subscribers import preferences, sign_up, unsubscribe
from mailer.services.subscribers.preferences import Profile
from mailer.services.subscribers.request_limits import RateLimited, Requester
from mailer.web.pages import Pages

MIN_LANGUAGE_FIELDS = 3
"""Minimum number of language fields on a page. Readers with more languages get more fields."""
_TRACKING_WORDING = N_("I agree that you record which emails I open and which links I click.")
"""The consent text of the tracking checkbox. Its translation is stored with the consent."""


_RECONFIRM_WORDING = N_(
    "If the address works and you want our emails again, we can send a link there. Once you have used it, they resume."
)
"""The consent text beside the button of a reader whose address was suppressed because of a bounce."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that came through a link to a subscription."""

    app: Container
    pages: Pages
    ref: SubscriptionRef
    link_kind: LinkKind
    unsubscribe_channel: ConsentChannel
    """The channel of an unsubscription on this page."""
    languages: list[str]
    """The requested languages of the page."""
    now: datetime
    requester: Requester


def load_profile(visit: Visit) -> Profile:
    return _found(preferences.profile(visit.app.database, visit.ref, visit.now, visit.languages, visit.link_kind))


def _found(profile: Profile | None) -> Profile:
    if profile is None:
        raise HTTPException(404)
    return profile


def render(visit: Visit, name: str, profile: Profile, status: int = 200, **values: object) -> HTMLResponse:
    return visit.pages.render_for(profile.frame, name, status, profile=profile, **values)


def choices_page(
    visit: Visit,
    profile: Profile,
    status: int = 200,
    *,
    template: str = "",
    saved: str = "",
    problem: str = "",
    sent: str = "",
    typed: str = "",
) -> HTMLResponse:
    """Return the preferences form: complete for a magic link, else only what emails show.

    ``saved``, ``sent`` and ``problem`` are the result of the previous form; ``typed`` is the address entered in it.
    """
    if not profile.subscribed:
        return unsubscribed_page(visit, profile, status)
    language = profile.frame.language
    followed = tuple(s.title.text for s in profile.sections if s.followed or s.always_included)
    zones = dict.fromkeys([*COMMON_TIME_ZONES, profile.preferences.time_zone])
    return render(
        visit,
        template or ("preferences" if visit.link_kind is LinkKind.magic else "mail_options"),
        profile,
        status,
        own=visit.link_kind is LinkKind.magic,
        saved=saved,
        problem=problem,
        sent=sent,
        typed=typed,
        places=language_places(profile.languages, profile.offered_languages),
        zones=sorted(zones, key=lambda zone: cldr.zone_name(zone, language, visit.now.date())),
        pauses=preferences.PAUSE_WEEKS,
        tracking_wording=visit.pages.gettext(profile.frame, _TRACKING_WORDING),
        section_titles=cldr.join_titles(followed),
        language_names=cldr.join_items(tuple(map(native_name, profile.languages)), language),
    )


def language_places(chosen: Sequence[str], offered: Sequence[str]) -> list[str]:
    """Return the value of each language field: the chosen languages, then empty strings."""
    return [*chosen, *[""] * (min(MIN_LANGUAGE_FIELDS, len(offered)) - len(chosen))]


def unsubscribed_page(
    visit: Visit, profile: Profile, status: int = 200, *, answered: bool = False, every: bool = False
) -> HTMLResponse:
    """Return the page after unsubscribing, with ``every`` from all newsletters, or after giving a reason."""
    return render(
        visit,
        "unsubscribed",
        profile,
        status,
        thanks=answered,
        every=every,
        in_flight=unsubscribe.is_mail_in_flight(visit.app.database, visit.ref.subscriber),
        reasons=unsubscribe.REASONS,
        longest=unsubscribe.MAX_COMMENT_LENGTH,
    )


def save(visit: Visit, form: FormData) -> HTMLResponse:
    profile = load_profile(visit)
    if not profile.subscribed:
        return unsubscribed_page(visit, profile)
    try:
        wanted = read_preferences(profile, form, visit.link_kind)
        wording = visit.pages.gettext(profile.frame, _TRACKING_WORDING)
        stored = preferences.save(
            visit.app.database, visit.ref, wanted, visit.link_kind, visit.now, visit.languages, wording
        )
    except NothingChosen:
        return choices_page(visit, _with_form_values(profile, form, visit.link_kind), 422, problem="no sections")
    except (NotOffered, ValueError):  # ValueError: an invalid section number or frequency
        return choices_page(visit, profile, 422, problem="unreadable")
    return choices_page(visit, _found(stored), saved="saved")


def read_preferences(profile: Profile, form: FormData, link_kind: LinkKind) -> Preferences:
    """Return the preferences in a form. Raises ValueError, NotOffered or NothingChosen."""
    current = profile.preferences
    frequency = Frequency(str(form.get("frequency", current.frequency)))
    wanted = replace(
        current,
        sections=section_mask(
            [int(str(bit)) for bit in form.getlist("section")],
            profile.sections,
            new_sections="new" in form,
            current=current.sections,
        ),
        languages=tuple(str(tag) for tag in form.getlist("language") if tag),
        frequency=frequency,
        text_only="text" in form,
    )
    if link_kind is LinkKind.mail:
        return wanted
    return replace(
        wanted,
        time_zone=str(form.get("zone", current.time_zone)),
        tracking="tracking" in form if profile.offers_tracking else current.tracking,
        name=read_form_name(str(form.get("name", current.name))),
    )


def _with_form_values(profile: Profile, form: FormData, link_kind: LinkKind) -> Profile:
    """Return the profile with the values of a rejected form, so that the page shows them again."""
    ticked = {str(bit) for bit in form.getlist("section")}
    languages = tuple(tag for tag in map(str, form.getlist("language")) if tag in profile.offered_languages)
    zone = str(form.get("zone"))
    readable = FormData(
        [
            *((name, value) for name, value in form.multi_items() if name not in ("section", "zone")),
            *(("section", str(section.bit)) for section in profile.sections),
        ]
    )
    form_preferences = read_preferences(profile, readable, link_kind)
    return replace(
        profile,
        sections=tuple(replace(section, followed=str(section.bit) in ticked) for section in profile.sections),
        languages=tuple(dict.fromkeys(languages)) or profile.languages,
        preferences=replace(
            form_preferences, time_zone=zone if zone in COMMON_TIME_ZONES else profile.preferences.time_zone
        ),
    )


def pause(visit: Visit, form: FormData) -> HTMLResponse:
    profile = load_profile(visit)
    if not profile.subscribed:
        return unsubscribed_page(visit, profile)
    try:
        weeks = int(str(form.get("weeks")))
        stored = preferences.pause(visit.app.database, visit.ref, weeks, visit.link_kind, visit.now, visit.languages)
    except (NotOffered, ValueError):
        return choices_page(visit, profile, 422, problem="unreadable")
    return choices_page(visit, _found(stored), saved="paused" if weeks else "resumed")


def undo(visit: Visit, _: FormData) -> HTMLResponse:
    undone = preferences.undo(visit.app.database, visit.ref, visit.link_kind, visit.now, visit.languages)
    return choices_page(visit, _found(undone[1] if undone else None), saved="undone")


def send_magic_link(visit: Visit, _: FormData) -> HTMLResponse:
    try:
        sent, profile = request_magic_link(visit)
    except RateLimited:
        return choices_page(visit, load_profile(visit), 429, problem="too many")
    return choices_page(visit, profile, sent="" if profile.bounced_at else sent)


def request_magic_link(visit: Visit) -> tuple[str, Profile]:
    """Send a magic link. Return whether that was done now or before, and the profile. Raises RateLimited."""
    answer = preferences.send_magic_link(
        visit.app.database,
        visit.ref,
        visit.now,
        visit.languages,
        hash_mailbox=visit.app.tokens.mailbox_hash,
        requester=visit.requester,
    )
    return "now" if answer and answer[0] else "before", _found(answer[1] if answer else None)


def reconfirm(visit: Visit, _: FormData) -> HTMLResponse:
    try:
        sent, profile = request_confirmation(visit)
    except RateLimited:
        return choices_page(visit, load_profile(visit), 429, problem="too many")
    return choices_page(visit, profile, sent=sent if profile.bounced_at else "")


def request_confirmation(visit: Visit) -> tuple[str, Profile]:
    """Have an address confirmed after a bounce. Return like ``request_magic_link``. Raises RateLimited."""
    profile = load_profile(visit)
    sent = sign_up.request_again(
        visit.app.database,
        visit.ref,
        visit.pages.gettext(profile.frame, _RECONFIRM_WORDING),
        _PAGE_CHANNELS[visit.link_kind],
        profile.frame.language,
        visit.now,
        hash_mailbox=visit.app.tokens.mailbox_hash,
        requester=visit.requester,
    )
    return "now" if sent else "before", profile


_PAGE_CHANNELS = {
    LinkKind.mail: ConsentChannel.preferences_page,
    LinkKind.magic: ConsentChannel.manage_page,
}


def unsubscribe_here(visit: Visit, _: FormData) -> HTMLResponse:
    unsubscribe.unsubscribe(visit.app.database, visit.ref, visit.unsubscribe_channel, visit.now)
    return unsubscribed_page(visit, load_profile(visit))


def unsubscribe_all(visit: Visit, _: FormData) -> HTMLResponse:
    unsubscribe.unsubscribe_all(visit.app.database, visit.ref, visit.link_kind, visit.now)
    return unsubscribed_page(visit, load_profile(visit), every=True)


def resubscribe(visit: Visit, _: FormData) -> HTMLResponse:
    subscribed = unsubscribe.resubscribe(visit.app.database, visit.ref, visit.link_kind, visit.now)
    profile = load_profile(visit)
    return render(visit, "resubscribed", profile) if subscribed else unsubscribed_page(visit, profile)


def give_reason(visit: Visit, form: FormData) -> HTMLResponse:
    answered = unsubscribe.record_reason(
        visit.app.database, visit.ref, str(form.get("reason", "")), str(form.get("comment", ""))
    )
    profile = load_profile(visit)
    return choices_page(visit, profile) if profile.subscribed else unsubscribed_page(visit, profile, answered=answered)


ACTIONS = {
    "save": save,
    "pause": pause,
    "restore": undo,
    "reconfirm": reconfirm,
    "unsubscribe": unsubscribe_here,
    "unsubscribe-all": unsubscribe_all,
    "undo": resubscribe,
    "reason": give_reason,
}
"""Value of the pressed button → action."""
