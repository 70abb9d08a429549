"""The pages of one issue: plan, preview, check, sending and report."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import UserError
from mailer.domain.issue_check import AudienceGroup, Finding, Severity, check_issue
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, IssueState, MissingTranslationPolicy, SkipReason
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address
from mailer.domain.time_zones import COMMON_TIME_ZONES, clock_change, time_zone, to_utc
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import expand, explain
from mailer.services.issues import approve, check, compile, edit, plan, report, schedule
from mailer.services.issues.compile import EditionNotFound
from mailer.web.dependencies import App, Now
from mailer.web.staff import Page, PageOf, Requires, StaffForm

ISSUE = "/desk/issues/{issue}"
router = APIRouter(prefix=ISSUE, include_in_schema=False)
Viewer = Annotated[Staff, Depends(Requires(Permission.read_issues))]
Writer = Annotated[Staff, Depends(Requires(Permission.write))]
Approver = Annotated[Staff, Depends(Requires(Permission.approve))]
Scheduler = Annotated[Staff, Depends(Requires(Permission.schedule))]
AddressViewer = Annotated[Staff, Depends(Requires(Permission.read_addresses))]
Reporter = Annotated[Staff, Depends(Requires(Permission.read_reports))]
Sections = Annotated[list[str] | None, Query(max_length=62)]
MAX_EDITIONS = 100
"""On one page, those with most readers first."""
EDITION_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
"""The sandbox also applies when an edition is opened outside its frame."""


@router.get("")
def plan_page(app: App, page: PageOf, staff: Viewer, issue: int, done: str = "") -> Response:
    return _plan(app, page, staff, issue, done=done)


@router.post("/policy")
def set_policy(app: App, page: PageOf, now: Now, staff: Writer, issue: int, form: StaffForm) -> Response:
    policy = next((known for known in MissingTranslationPolicy if known == form.get("policy")), None)
    if policy is None:
        raise HTTPException(400)
    try:
        approve.set_missing_translation_policy(app.database, issue, policy, staff.name)
    except UserError as error:
        return _plan(app, page, staff, issue, error=str(error), status=409)
    return page.redirect(page.urls.path(ISSUE, issue=issue), "policy")


@router.post("/stories/{story}/remove")
def remove_story(app: App, page: PageOf, now: Now, staff: Writer, issue: int, story: int, form: StaffForm) -> Response:
    try:
        headline = edit.remove_story(app.database, issue, story, "", staff.name)
    except UserError as error:
        return _plan(app, page, staff, issue, error=str(error), status=409)
    audit.record(app.database, staff, now, AuditAction.story_removed, "issue", issue, {"headline": headline})
    return page.redirect(page.urls.path(ISSUE, issue=issue), "removed")


@router.post("/delete")
def delete_draft(app: App, page: PageOf, now: Now, staff: Writer, issue: int, form: StaffForm) -> Response:
    head = plan.load_head(app.database, issue)
    if str(form.get("number", "")).strip() != head.number:
        return _plan(app, page, staff, issue, error="delete_number", status=400)
    try:
        edit.delete_draft(app.database, issue)
    except UserError as error:
        return _plan(app, page, staff, issue, error=str(error), status=409)
    audit.record(app.database, staff, now, AuditAction.issue_deleted, "issue", issue, {"number": head.number})
    return page.redirect(page.urls.path("/desk"), "deleted")


def _plan(
    app: Container, page: Page, staff: Staff, issue: int, *, done: str = "", error: str = "", status: int = 200
) -> Response:
    loaded = plan.load_plan(app.database, app.urls, issue)
    findings = _findings(app, issue)
    return page(
        "desk/plan",
        staff,
        status,
        plan=loaded,
        head=loaded.head,
        editable=loaded.head.state in EDITABLE_STATES,
        may_write=staff.may(Permission.write, loaded.head.newsletter),
        may_translate=staff.may(Permission.translate_texts, loaded.head.newsletter),
        findings=findings,
        by_story=_by_story(findings),
        policies=list(MissingTranslationPolicy),
        done=done,
        error=error,
    )


def _by_story(findings: Sequence[Finding]) -> dict[int, list[Finding]]:
    """Return story → the findings about it alone."""
    found: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        stories = {place.story for place in finding.places if place.story is not None}
        if len(stories) == 1:
            found[stories.pop()].append(finding)
    return found


def _findings(app: Container, issue: int) -> list[Finding]:
    source = compile.load_issue(app.database, app.urls, issue)
    errors = compile.render_errors(source, app.renderer, app.urls, app.settings.bounce_domain)
    return check_issue(source, render_errors=errors)


# Preview.


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a preview shows, as its query string says."""

    language: str
    sections: tuple[str, ...]

    @property
    def query(self) -> str:
        return urlencode([("language", self.language), *(("section", key) for key in self.sections)])


@router.get("/preview")
def preview_page(
    app: App,
    page: PageOf,
    staff: Viewer,
    issue: int,
    language: str = "",
    section: Sections = None,
    width: str = "desktop",
    scheme: str = "light",
    show: str = "html",
) -> Response:
    loaded = plan.load_plan(app.database, app.urls, issue)
    languages = [mark.language for mark in loaded.front_matter if mark.mark == "ready"]
    if not languages:
        return page("desk/preview_empty", staff, plan=loaded, head=loaded.head)
    chosen = language if language in languages else languages[0]
    known = [planned.key for planned in loaded.sections]
    sections = tuple(key for key in known if key in (section or known))
    _, rendered = compile.preview(
        app.database,
        app.renderer,
        app.urls,
        issue,
        chosen,
        compile.section_mask(app.database, issue, sections),
    )
    return page(
        "desk/preview",
        staff,
        plan=loaded,
        head=loaded.head,
        languages=languages,
        chosen=chosen,
        sections=sections,
        query=_Choice(chosen, sections).query,
        width="phone" if width == "phone" else "desktop",
        scheme="dark" if scheme == "dark" else "light",
        show=show if show in ("text", "source") else "html",
        subject=rendered.subject,
        preheader=rendered.preheader,
        text=rendered.text,
        source=rendered.html,
        size=len(rendered.html.encode()),
    )


@router.get("/edition")
def edition(
    app: App,
    staff: Viewer,
    issue: int,
    language: str,
    section: Sections = None,
) -> Response:
    try:
        mask = compile.section_mask(app.database, issue, section or [])
        _, rendered = compile.preview(app.database, app.renderer, app.urls, issue, language, mask)
    except EditionNotFound:
        raise HTTPException(404) from None
    headers = {"Content-Security-Policy": EDITION_CSP, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(rendered.html, headers=headers)


# Check and approval.


@router.get("/check")
def check_page(app: App, page: PageOf, now: Now, staff: Viewer, issue: int, done: str = "") -> Response:
    return _check(app, page, now, staff, issue, done=done)


@router.post("/approve")
def approve_issue(app: App, page: PageOf, now: Now, staff: Approver, issue: int, form: StaffForm) -> Response:
    source = compile.load_issue(app.database, app.urls, issue)
    if str(source.revision) != form.get("revision"):
        return _check(app, page, now, staff, issue, error="changed", status=409)
    errors = compile.render_errors(source, app.renderer, app.urls, app.settings.bounce_domain)
    try:
        approve.approve(app.database, source, staff.name, errors)
    except UserError as error:
        return _check(app, page, now, staff, issue, error=str(error), status=409)
    audit.record(app.database, staff, now, AuditAction.issue_approved, "issue", issue, {"revision": source.revision})
    return page.redirect(page.urls.path(f"{ISSUE}/send", issue=issue), "approved")


@router.post("/reopen")
def reopen(app: App, page: PageOf, now: Now, staff: Approver, issue: int, form: StaffForm) -> Response:
    try:
        schedule.reopen(app.database, issue, staff.name)
    except UserError as error:
        return _check(app, page, now, staff, issue, error=str(error), status=409)
    audit.record(app.database, staff, now, AuditAction.issue_reopened, "issue", issue)
    return page.redirect(page.urls.path(ISSUE, issue=issue), "reopened")


def _check(
    app: Container,
    page: Page,
    now: datetime,
    staff: Staff,
    issue: int,
    *,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    head = plan.load_head(app.database, issue)
    source = compile.load_issue(app.database, app.urls, issue)
    compiler = compile.EditionCompiler(source, app.renderer, app.urls, app.settings.bounce_domain)
    groups = expand.count_audience(app.database, issue)
    result = check.check(source, compiler, groups)
    return page(
        "desk/check",
        staff,
        status,
        head=head,
        by_severity={level: [one for one in result.findings if one.severity is level] for level in Severity},
        section_keys={section.bit: section.key for section in source.sections},
        languages=result.languages,
        editions=result.editions[:MAX_EDITIONS],
        more_editions=max(0, len(result.editions) - MAX_EDITIONS),
        audience=_audience(groups),
        may_approve=staff.may(Permission.approve, head.newsletter),
        looked_at=now,
        done=done,
        error=error,
    )


@dataclass(frozen=True, slots=True)
class Audience:
    """Who would get an issue now."""

    subscribers: int
    editions: int
    by_language: list[tuple[str, int, int]]
    """(language, readers, editions), the largest first."""
    excluded: list[tuple[SkipReason, int]]


def _audience(groups: Sequence[AudienceGroup]) -> Audience:
    subscribers: Counter[str] = Counter()
    editions: dict[str, set[int]] = defaultdict(set)
    excluded: Counter[SkipReason] = Counter()
    for group in groups:
        if group.skip_reason:
            excluded[group.skip_reason] += group.subscribers
        elif group.language:
            subscribers[group.language] += group.subscribers
            editions[group.language].add(group.sections)
    return Audience(
        subscribers.total(),
        sum(map(len, editions.values())),
        [(language, number, len(editions[language])) for language, number in subscribers.most_common()],
        sorted(excluded.items()),
    )


# Sending.


@router.get("/send")
def send_page(app: App, page: PageOf, now: Now, staff: Viewer, issue: int, done: str = "") -> Response:
    return _send(app, page, now, staff, issue, done=done)


@router.post("/schedule")
def schedule_issue(app: App, page: PageOf, now: Now, staff: Scheduler, issue: int, form: StaffForm) -> Response:
    head = plan.load_head(app.database, issue)
    audience = _audience(expand.count_audience(app.database, issue))
    try:
        if not audience.subscribers:
            raise ScheduleRefused("nobody")
        if str(head.revision) != form.get("revision"):
            raise ScheduleRefused("changed")
        if str(audience.subscribers) != form.get("subscribers"):
            raise ScheduleRefused("count")
        detail = _schedule(app, issue, form, staff, now)
    except ScheduleRefused as refusal:
        return _send(app, page, now, staff, issue, error=str(refusal), form=form, status=409)
    except UserError as error:
        return _send(app, page, now, staff, issue, error=str(error), form=form, status=409)
    audit.record(app.database, staff, now, AuditAction.issue_scheduled, "issue", issue, detail)
    return page.redirect(
        page.urls.path(f"{ISSUE}/report", issue=issue), "clocks" if "clocks" in detail else "scheduled"
    )


class ScheduleRefused(Exception):
    """The issue is not scheduled: nobody would get it, or what the button promised has changed, or the time is past."""


def _schedule(app: Container, issue: int, form: FormData, staff: Staff, now: datetime) -> dict[str, str]:
    """Schedule the issue as the form says. Return what the audit log says about it. Raises ScheduleRefused."""
    when = form.get("when")
    if when == "now":
        schedule.schedule(app.database, issue, now, staff.name)
        return {"when": "now"}
    try:
        at = datetime.fromisoformat(str(form.get("at", ""))).replace(tzinfo=None)
    except ValueError:
        raise ScheduleRefused("no_time") from None
    if when == "local":
        if at.replace(tzinfo=time_zone("Pacific/Niue")) < now:
            raise ScheduleRefused("past")
        schedule.schedule_local_time(app.database, issue, at, staff.name)
        clocks = {"clocks": "changed"} if schedule.clock_changes(app.database, issue, at) else {}
        return {"when": f"{at.isoformat()} in each reader's time zone"} | clocks
    zone = str(form.get("zone", "UTC"))
    if zone not in COMMON_TIME_ZONES:
        raise ScheduleRefused("no_time")
    try:
        moment = to_utc(at, time_zone(zone)).astimezone(time_zone(zone))
        change = clock_change(at, time_zone(zone))
    except (ValueError, OverflowError):  # at the end of all dates
        raise ScheduleRefused("no_time") from None
    if moment < now - timedelta(minutes=1):
        raise ScheduleRefused("past")
    schedule.schedule(app.database, issue, moment, staff.name)
    return {"when": moment.isoformat(), "zone": zone} | ({"clocks": change.value} if change else {})


@router.post("/unschedule")
def unschedule(app: App, page: PageOf, now: Now, staff: Scheduler, issue: int, form: StaffForm) -> Response:
    try:
        schedule.unschedule(app.database, issue, staff.name)
    except UserError as error:
        return _send(app, page, now, staff, issue, error=str(error), status=409)
    audit.record(app.database, staff, now, AuditAction.issue_unscheduled, "issue", issue)
    return page.redirect(page.urls.path(f"{ISSUE}/send", issue=issue), "unscheduled")


def _send(
    app: Container,
    page: Page,
    now: datetime,
    staff: Staff,
    issue: int,
    *,
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    head = plan.load_head(app.database, issue)
    return page(
        "desk/send",
        staff,
        status,
        head=head,
        audience=_audience(expand.count_audience(app.database, issue))
        if head.state in (*EDITABLE_STATES, IssueState.approved)
        else None,
        may_schedule=staff.may(Permission.schedule, head.newsletter),
        zones=COMMON_TIME_ZONES,
        form=form or FormData(),
        done=done,
        error=error,
    )


# Progress and report.


@router.get("/report")
def report_page(app: App, page: PageOf, now: Now, staff: Reporter, issue: int, done: str = "") -> Response:
    return _report(app, page, now, staff, issue, done=done)


@router.post("/progress")
def steer(app: App, page: PageOf, now: Now, staff: Scheduler, issue: int, form: StaffForm) -> Response:
    """Pause, resume, slow down or cancel."""
    action = str(form.get("action", ""))
    detail: dict[str, object] = {}
    try:
        match action:
            case "pause":
                schedule.pause(app.database, issue, staff.name, str(form.get("reason", ""))[:300])
            case "resume":
                schedule.resume(app.database, issue, staff.name)
            case "limit":
                rate = _rate(str(form.get("rate", "")))
                schedule.set_max_rate(app.database, issue, rate, staff.name)
                detail = {"per_second": rate or 0}
            case "cancel":
                if not form.get("sure"):
                    return _report(app, page, now, staff, issue, error="sure", status=400)
                detail = {"unsent": schedule.cancel(app.database, issue, staff.name, now)}
            case _:
                raise HTTPException(400)
    except RateRefused:
        return _report(app, page, now, staff, issue, error="rate", status=400)
    except UserError as error:
        return _report(app, page, now, staff, issue, error=str(error), status=409)
    actions = {
        "pause": AuditAction.issue_paused,
        "resume": AuditAction.issue_resumed,
        "limit": AuditAction.issue_limited,
        "cancel": AuditAction.issue_cancelled,
    }
    audit.record(app.database, staff, now, actions[action], "issue", issue, detail)
    return page.redirect(page.urls.path(f"{ISSUE}/report", issue=issue), action)


@router.get("/reader")
def explain_page(app: App, page: PageOf, now: Now, staff: AddressViewer, issue: int, address: str = "") -> Response:
    """Explain why a reader got this edition when they did, or why not."""
    sentences: list[str] = []
    error = ""
    address = address.strip()[: MAX_ADDRESS_OCTETS + 1]
    if address:
        try:
            key = read_address(address)[1]
            context = explain.SendContext(now, app.relay_routes, app.providers, app.urls, app.settings.bounce_domain)
            found = explain.explain(app.database, issue, address, app.tokens.address_hash(key), context)
            sentences = found.sentences
        except (InvalidValue, UserError) as problem:
            error = str(problem)
        audit.record(app.database, staff, now, AuditAction.subscriber_opened, "issue", issue)
    head = plan.load_head(app.database, issue)
    return page(
        "desk/explain", staff, 400 if error else 200, head=head, address=address, sentences=sentences, error=error
    )


class RateRefused(ValueError):
    """What was entered is no rate."""


def _rate(text: str) -> float | None:
    """Return messages a second from a number a minute; None for an empty field. Raises RateRefused."""
    if not text.strip():
        return None
    try:
        per_minute = float(text.replace(",", "."))
    except ValueError:
        raise RateRefused from None
    if not 1 <= per_minute <= 10_000_000:
        raise RateRefused
    return per_minute / 60


def _report(
    app: Container,
    page: Page,
    now: datetime,
    staff: Staff,
    issue: int,
    *,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    head = plan.load_head(app.database, issue)
    progress = report.status(app.database, issue, now)
    left = None
    if progress.state is IssueState.sending and progress.per_second > 0 and progress.counts.pending:
        left = timedelta(seconds=round(progress.counts.pending / progress.per_second))
    return page(
        "desk/report",
        staff,
        status,
        head=head,
        progress=progress,
        left=left,
        skipped=sorted(report.skipped_by_reason(app.database, issue).items()),
        languages=report.by_language(app.database, issue),
        failures=report.failures(app.database, issue),
        events=report.events(app.database, issue)[-30:],
        findings=report.audit(app.database, issue) if head.state in (IssueState.sent, IssueState.cancelled) else [],
        may_read_addresses=staff.may(Permission.read_addresses, head.newsletter),
        may_schedule=staff.may(Permission.schedule, head.newsletter),
        done=done,
        error=error,
    )
