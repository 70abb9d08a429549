"""Settings of a newsletter: names and sender, languages, and rules of sending, each a form that is saved by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.errors import UserError
from mailer.domain.languages import choose_language
from mailer.domain.newsletter import NewsletterSettings
from mailer.domain.newsletter_check import NewsletterError
from mailer.domain.newsletter_file import to_toml
from mailer.domain.permissions import Permission
from mailer.domain.subscriber_fields import InvalidValue, read_languages
from mailer.domain.time_zones import COMMON_TIME_ZONES
from mailer.language_data import languages as known_languages
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters import settings as service
from mailer.services.newsletters.catalogue import NewsletterSummary, list_newsletters
from mailer.services.newsletters.settings import SettingsChanged, Values, fingerprint
from mailer.web.dependencies import App
from mailer.web.staff import NewsletterOf, Page, PageOf, Requires
from mailer.web.staff_forms import StaffForm

SETTINGS = "/desk/newsletters/{newsletter}/settings"
router = APIRouter(include_in_schema=False)
Editor = Annotated[Staff, Depends(Requires(Permission.change_newsletter))]

GENERAL = ("names", "taglines", "sender_name", "sender_address", "reply_to", "postal_address", "website", "public")
LANGUAGES = ("languages", "default_language", "fallbacks")
SENDING = (
    "four_eyes",
    "time_zone",
    "quiet_from",
    "quiet_until",
    "digest_time",
    "max_late_hours",
    "tracking",
    "uncertain_policy",
    "suppress_after_refused_issues",
    "suppress_after_refused_days",
)
_Part = Callable[[Values], object]


@dataclass(frozen=True, slots=True)
class SettingsVisit:
    """A request for a page of a newsletter's settings."""

    app: Container
    page: Page
    newsletter: NewsletterSummary

    def load(self) -> NewsletterSettings:
        return service.load_settings(self.app.database, self.newsletter.slug)

    def path(self, tab: str = "") -> str:
        """Return the path of a tab, such as ``/languages``."""
        return self.page.urls.path(SETTINGS + tab, newsletter=self.newsletter.slug)

    def show(
        self,
        template: str,
        staff: Staff,
        part: _Part,
        *,
        refusal: Exception | None = None,
        form: FormData | None = None,
        done: str = "",
        **more: object,
    ) -> Response:
        """Show a form with what is stored, or with what was filled in and why it is refused."""
        stored = self.load()
        values = stored.model_dump(mode="json")
        fields = _flatten(values)
        if form is not None:
            fields = dict.fromkeys(fields, "") | {name: str(value) for name, value in form.items()}
        problems = refusal.problems if isinstance(refusal, NewsletterError) else ()
        errors = {".".join(map(str, problem.path)): problem.message for problem in problems}
        return self.page(
            f"desk/{template}",
            staff,
            409 if refusal else 200,
            newsletter=self.newsletter,
            settings=stored,
            fields=fields,
            shown=fingerprint(part(values)),
            errors=errors,
            conflict=refusal if isinstance(refusal, SettingsChanged) else None,
            refusal=str(refusal) if isinstance(refusal, UserError) and not problems else "",
            approved=service.approved_issues(self.app.database, self.newsletter.id),
            last_change=service.load_last_change(self.app.database, self.newsletter.id),
            done=done,
            **more,
        )

    def save(
        self,
        staff: Staff,
        form: FormData,
        edit: Callable[[Values], None],
        part: _Part,
        *,
        refused: Callable[[Exception], Response],
        then: str,
    ) -> Response:
        """Change the settings and go to a tab, or answer with what ``refused`` makes of the reason."""
        try:
            differences = service.save_settings(
                self.app.database,
                self.newsletter.slug,
                edit,
                self.app.catalogues.override_errors,
                staff,
                shown=str(form.get("shown", "")),
                part=part,
            )
        except (UserError, SettingsChanged) as refusal:
            return refused(refusal)
        return self.page.redirect(self.path(then), "saved" if differences else "same")


def _visit(app: App, page: PageOf, newsletter: NewsletterOf) -> SettingsVisit:
    return SettingsVisit(app, page, newsletter)


SettingsVisitOf = Annotated[SettingsVisit, Depends(_visit)]
"""A handler takes it after what it ``Requires``."""


def part_of(*names: str) -> _Part:
    """Return a function that picks settings."""
    return lambda values: {name: values[name] for name in names}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return field of a form → value."""
    fields: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            fields |= _flatten(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            fields[f"{prefix}{name}"] = "" if value is None else value if isinstance(value, str) else str(value)
    return fields


def by_language(form: FormData, name: str) -> dict[str, str]:
    """Return language → text of the fields ``name.fr``, without those left empty."""
    return {
        field.removeprefix(f"{name}."): str(value)
        for field, value in form.items()
        if field.startswith(f"{name}.") and str(value).strip()
    }


@router.get("/desk/newsletters")
def choose_settings(app: App, page: PageOf, staff: Editor) -> Response:
    return choose_newsletter(app, page, staff, Permission.change_newsletter, SETTINGS)


def choose_newsletter(app: Container, page: Page, staff: Staff, permission: Permission, path: str) -> Response:
    """Go to the page ``path`` of the only newsletter for which an account has a permission, or offer them."""
    allowed = staff.newsletters(permission)
    found = [row for row in list_newsletters(app.database) if allowed is None or row.id in allowed]
    paths = [page.urls.path(path, newsletter=row.slug) for row in found]
    if len(found) == 1:
        return page.redirect(paths[0])
    return page("desk/newsletters", staff, permission=permission, newsletters=list(zip(found, paths, strict=True)))


@router.get(f"{SETTINGS}/file.toml")
def file(staff: Editor, visit: SettingsVisitOf) -> Response:
    """Return the settings as a file, which ``mailer newsletter apply`` reads."""
    slug = visit.newsletter.slug
    headers = {"Content-Disposition": f'attachment; filename="{slug}.toml"', "Cache-Control": "no-store"}
    return Response(to_toml(visit.load()), media_type="application/toml; charset=utf-8", headers=headers)


@router.get(SETTINGS)
def general_page(staff: Editor, visit: SettingsVisitOf, done: str = "") -> Response:
    return _show_general(visit, staff, done=done)


@router.post(SETTINGS)
def save_general(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    def edit(values: Values) -> None:
        values["names"], values["taglines"] = by_language(form, "names"), by_language(form, "taglines")
        for name in GENERAL[2:-1]:
            values[name] = str(form.get(name, "")).strip()
        values["public"] = form.get("public") == "True"

    def refused(refusal: Exception) -> Response:
        return _show_general(visit, staff, refusal=refusal, form=form)

    return visit.save(staff, form, edit, part_of(*GENERAL), refused=refused, then="")


def _show_general(visit: SettingsVisit, staff: Staff, **more: Any) -> Response:
    return visit.show("newsletter", staff, part_of(*GENERAL), **more)


@router.get(f"{SETTINGS}/languages")
def languages_page(staff: Editor, visit: SettingsVisitOf, done: str = "", example: str = "") -> Response:
    return _show_languages(visit, staff, done=done, example=example[:200])


@router.post(f"{SETTINGS}/languages")
def save_languages(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    def edit(values: Values) -> None:
        kept = [tag for tag in values["languages"] if not form.get(f"remove.{tag}")]
        places = {tag: str(form.get(f"place.{tag}", "")) for tag in kept}
        kept.sort(key=lambda tag: int(places[tag]) if places[tag].isdecimal() and len(places[tag]) < 4 else 0)
        values["languages"] = list(dict.fromkeys([*kept, *str(form.get("add", "")).replace(",", " ").split()]))
        values["default_language"] = str(form.get("default_language", ""))
        chains = {
            tag: list(dict.fromkeys(str(then) for then in form.getlist(f"fallback.{tag}") if then not in ("", tag)))
            for tag in dict.fromkeys([*values["languages"], *values["fallbacks"]])
            if not form.get(f"remove.{tag}")
        }
        values["fallbacks"] = {tag: chain for tag, chain in chains.items() if chain}

    def refused(refusal: Exception) -> Response:
        return _show_languages(visit, staff, refusal=refusal, form=form)

    return visit.save(staff, form, edit, part_of(*LANGUAGES), refused=refused, then="/languages")


@dataclass(frozen=True, slots=True)
class LanguageRow:
    """A language of a newsletter, or one that only readers have."""

    tag: str
    is_offered: bool
    fallbacks: tuple[str, ...]
    """As stored, or as filled in."""
    path: tuple[str, ...]
    """Where a text is looked for, the first place first."""


def _show_languages(
    visit: SettingsVisit, staff: Staff, *, example: str = "", form: FormData | None = None, **more: Any
) -> Response:
    settings = visit.load()
    languages, default = settings.languages, settings.default_language
    rows = []
    for tag in dict.fromkeys([*languages, *settings.fallbacks]):
        chain = settings.fallbacks.get(tag, [])
        path = [choice for choice in dict.fromkeys([tag, *chain, default]) if choice in languages]
        shown = form.getlist(f"fallback.{tag}") if form else chain
        rows.append(LanguageRow(tag, tag in languages, tuple(str(then) for then in shown if then), tuple(path)))
    wanted = tuple(list(settings.fallbacks)[:1] or languages[-1:])
    problem = ""
    try:
        wanted = read_languages(example) or wanted
    except InvalidValue as error:
        problem = str(error)
    match = choose_language(wanted, languages, settings.fallbacks, default)
    others = [tag for tag in languages if match and tag != match.language]
    return visit.show(
        "newsletter_languages",
        staff,
        part_of(*LANGUAGES),
        rows=rows,
        known=[tag for tag in known_languages() if tag not in languages],
        example=wanted,
        example_problem=problem,
        match=match,
        form=form,
        otherwise=choose_language(wanted, others, settings.fallbacks, default),
        **more,
    )


@router.get(f"{SETTINGS}/sending")
def sending_page(staff: Editor, visit: SettingsVisitOf, done: str = "") -> Response:
    return _show_sending(visit, staff, done=done)


@router.post(f"{SETTINGS}/sending")
def save_sending(staff: Editor, visit: SettingsVisitOf, form: StaffForm) -> Response:
    def edit(values: Values) -> None:
        values |= {name: str(form.get(name, "")).strip() for name in SENDING}
        values["four_eyes"] = form.get("four_eyes") == "True"
        for name in ("quiet_from", "quiet_until"):
            values[name] = values[name] or None

    def refused(refusal: Exception) -> Response:
        return _show_sending(visit, staff, refusal=refusal, form=form)

    return visit.save(staff, form, edit, part_of(*SENDING), refused=refused, then="/sending")


def _show_sending(visit: SettingsVisit, staff: Staff, **more: Any) -> Response:
    return visit.show(
        "newsletter_sending",
        staff,
        part_of(*SENDING),
        zones=COMMON_TIME_ZONES,
        retention=visit.app.retention_policy,
        **more,
    )
