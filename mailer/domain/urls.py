"""The paths of the web pages.

Routes, links, the redaction of logs, robots.txt and the proxy configuration in docs/operations.md are based on them.
"""

from enum import StrEnum


class TokenPrefix(StrEnum):
    """The beginning of the path of a personal link; a token follows."""

    unsubscribe = "u/"
    preferences = "p/"
    manage = "k/"
    confirm = "c/"
    change_address = "a/"
    web_view = "e/"
    choose_password = "w/"  # noqa: S105
    contribution = "t/"


UNSUBSCRIBE = f"/{TokenPrefix.unsubscribe}{{token}}"
PREFERENCES = f"/{TokenPrefix.preferences}{{token}}"
MANAGE = f"/{TokenPrefix.manage}{{token}}/{{slug}}"
PERSONAL_DATA = f"{MANAGE}/data"
PERSONAL_DATA_JSON = f"{MANAGE}/data.json"
CONFIRM = f"/{TokenPrefix.confirm}{{token}}"
CHANGE_ADDRESS = f"/{TokenPrefix.change_address}{{token}}"
WEB_VIEW = f"/{TokenPrefix.web_view}{{token}}"

SIGN_IN = "/sign-in"
SIGN_IN_CODE = "/sign-in/code"
SIGN_IN_OPENID = "/sign-in/openid"
OPENID_CALLBACK = "/sign-in/openid/callback"
SIGN_IN_CONTINUE = "/sign-in/continue"
SIGN_OUT = "/sign-out"
FORGOTTEN_PASSWORD = "/sign-in/forgotten"  # noqa: S105
CHOOSE_PASSWORD = f"/{TokenPrefix.choose_password}{{token}}"
CONTRIBUTION = f"/{TokenPrefix.contribution}{{token}}"
MY_ACCOUNT = "/account"
PEOPLE = "/desk/people"
AUDIT_LOG = "/desk/audit-log"
DESK = "/desk"
COMPONENTS = "/desk/components"
CONTROL_ROOM = "/control"
FLOW = f"{CONTROL_ROOM}/flow"
DELIVERIES = f"{CONTROL_ROOM}/deliveries"
DELIVERIES_OF_ISSUE = f"{DELIVERIES}/{{issue}}"
FIND_ENDPOINT = f"{FLOW}/find"
ENDPOINT = f"{FLOW}/{{scope}}/{{name}}"
SUPPRESSIONS = f"{CONTROL_ROOM}/suppressions"
SUPPRESSION = f"{SUPPRESSIONS}/{{key}}"
FIND_SUBSCRIBER = f"{CONTROL_ROOM}/reader"
WORKER = f"{CONTROL_ROOM}/workers/{{name}}"

HOME = "/"
ARCHIVE = "/archive/{slug}"
ISSUE_LIST = f"{ARCHIVE}/{{language}}"
EDITION = f"{ISSUE_LIST}/{{issue}}"
STORY = f"{EDITION}/{{story}}"
NEWSLETTER_FEED = f"{ISSUE_LIST}.atom"
SECTION_FEED = f"{ISSUE_LIST}/{{section}}.atom"
SITEMAP_INDEX = "/sitemap.xml"
NEWSLETTER_SITEMAP = f"{ARCHIVE}.sitemap.xml"
ISSUE_SITEMAP = f"{ARCHIVE}/{{issue}}.sitemap.xml"
SUBSCRIBE = "/subscribe/{slug}"
EMBEDDED_FORM = f"{SUBSCRIBE}/form"
PICTURE = "/pictures/{name}.{extension}"
STATIC_FILES = "/static"
THEME = "/theme/{colours}.css"
ROBOTS = "/robots.txt"
HEALTH = "/health"

INDEXED_PREFIXES = ("/archive/", "/subscribe/", "/pictures/", f"{STATIC_FILES}/", "/theme/", SITEMAP_INDEX)
"""Paths that search engines may read, besides the home page. All others are disallowed, so new pages are by default."""

TOKEN_PATH_REGEX = f"^/[{''.join(sorted(prefix[0] for prefix in TokenPrefix))}]/"
"""Matches the path of every link with a token, in Python and in nginx."""
