"""time zones are those of places"""

import sqlalchemy as sa
from alembic import op

revision = "5a0c7e92d4b1"
down_revision = "b1d2f7c45e90"
branch_labels = None
depends_on = None

_STORED = {
    "UTC": "Etc/GMT Etc/GMT+0 Etc/GMT-0 Etc/GMT0 Etc/Greenwich Etc/UCT Etc/UTC Etc/Universal Etc/Zulu Factory GMT GMT+0"
    " GMT-0 GMT0 Greenwich UCT Universal Zulu localtime",
    "Africa/Cairo": "Egypt",
    "Africa/Tripoli": "Libya",
    "America/Chicago": "CST6CDT",
    "America/Denver": "MST7MDT Navajo",
    "America/Havana": "Cuba",
    "America/Jamaica": "Jamaica",
    "America/Los_Angeles": "PST8PDT",
    "America/New_York": "EST5EDT",
    "America/Panama": "EST",
    "America/Phoenix": "MST",
    "Asia/Hong_Kong": "Hongkong",
    "Asia/Jerusalem": "Israel",
    "Asia/Seoul": "ROK",
    "Asia/Shanghai": "PRC",
    "Asia/Singapore": "Singapore",
    "Asia/Taipei": "ROC",
    "Asia/Tehran": "Iran",
    "Asia/Tokyo": "Japan",
    "Atlantic/Reykjavik": "Iceland",
    "Europe/Athens": "EET",
    "Europe/Dublin": "Eire",
    "Europe/Istanbul": "Turkey",
    "Europe/Lisbon": "Portugal WET",
    "Europe/London": "GB GB-Eire",
    "Europe/Moscow": "W-SU",
    "Europe/Paris": "CET MET",
    "Europe/Warsaw": "Poland",
    "Pacific/Auckland": "NZ",
    "Pacific/Chatham": "NZ-CHAT",
    "Pacific/Honolulu": "HST",
    "Pacific/Kwajalein": "Kwajalein",
}


def upgrade() -> None:
    aliases = {alias: zone for zone, names in _STORED.items() for alias in names.split()}
    query = """
        UPDATE subscriber SET time_zone = n.zone
        FROM unnest(CAST(:aliases AS text[]), CAST(:zones AS text[])) n (alias, zone) WHERE time_zone = n.alias
    """
    values = {"aliases": list(aliases), "zones": list(aliases.values())}
    op.execute(sa.text(query).bindparams(**values))


def downgrade() -> None:
    pass  # the places have the same time
