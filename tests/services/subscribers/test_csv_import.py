import csv
import io
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text

from mailer.adapters.tokens import Tokens
from mailer.domain.consents import ConsentChannel
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import NewsletterNotFound
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.preferences import Preferences
from mailer.domain.states import SubscriptionState
from mailer.domain.subscriber_csv import CsvSubscriber, CsvSubscribers, RowChoices
from mailer.domain.subscriber_fields import read_address
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import Consent, Newsletter, Signup, Subscriber, Subscription
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import sign_up
from mailer.services.subscribers.csv_import import (
    ImportRefused,
    ImportReport,
    Progress,
    import_subscribers,
)
from mailer.services.subscribers.request_limits import Requester
from mailer.store import newsletters, subscriber_import, subscribers
from mailer.store.database import Database, DatabaseDown, Session
from tests.support.locks import wait_for_lock

SAMPLE = Path(__file__).parents[3] / "docs" / "sample"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
HEADER = "address,name,languages,sections,time_zone,consent_source,consent_date\n"

Import = Callable[..., ImportReport]


@pytest.fixture
def newsletter(database: Database) -> str:
    made = read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8"))
    apply_newsletter(database, made)
    apply_newsletter(database, made.model_copy(update={"slug": "second"}))
    return made.slug


@pytest.fixture
def take(database: Database, tokens: Tokens, newsletter: str, tmp_path: Path) -> Import:
    """Import text, bytes or a file."""

    def run(source: str | bytes | Path, slug: str = newsletter, rejects_path: Path | None = None) -> ImportReport:
        if isinstance(source, str):
            source = (HEADER + source).encode()
        if isinstance(source, bytes):
            path = tmp_path / "readers.csv"
            path.write_bytes(source)
            source = path
        return import_subscribers(
            database, source, slug, rejects_path=rejects_path, hmac_pads=tokens.hmac_pads(), now=NOW
        )

    return run


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.lines, report.added, report.known, report.suppressed, report.rejected


def stored(database: Database) -> tuple[int, int, int]:
    """How many subscribers, subscriptions and consents there are."""
    with database.transaction() as session:
        people, ties, consents = [
            session.scalar(select(func.count()).select_from(t)) or 0 for t in (Subscriber, Subscription, Consent)
        ]
        evident = select(func.count()).where(Subscription.consent_at.is_not(None))
        return people, ties, consents + (session.scalar(evident) or 0)


def suppress(database: Database, tokens: Tokens, address: str) -> None:
    with database.transaction() as session:
        subscribers.suppress(
            session,
            tokens.address_hash(read_address(address)[1]),
            SuppressionReason.manual,
            SuppressionSource.staff,
        )


def add(session: Session, tokens: Tokens, address: str) -> None:
    subscribers.get_or_create(session, address, tokens.address_hash(address), [])


def test_imports_preferences_and_consent_records(
    database: Database, tokens: Tokens, take: Import, newsletter: str
) -> None:
    report = take(
        "Ana@Readers.Example.ORG,Ana \\N Uzorak\\,hr-BA en,"
        "water-and-rivers,Europe/Zagreb,a \\ form,2024-02-29T10:00Z\n"
        "wilma@bücher.example.net,,,,,form,2024-03-01\n"
        "none@example.org,None,en,none,,form,2024-03-01\n"
    )
    assert counts(report) == (3, 3, 0, 0, 0)
    assert report.rejects_path is None
    with database.transaction() as session:
        reader = subscribers.by_hash(session, tokens.address_hash("ana@readers.example.org"))
        assert reader is not None
        assert (reader.address, reader.name) == ("Ana@readers.example.org", "Ana \\N Uzorak\\")
        assert (reader.languages, reader.time_zone) == (["hr-BA", "en"], "Europe/Zagreb")
        found = newsletters.by_slug(session, newsletter)
        assert found is not None
        bit = {s.key: s.bit for s in newsletters.sections(session, found.id)}["water-and-rivers"]
        tie = subscribers.subscription(session, found.id, reader.id)
        assert tie is not None
        assert (tie.state, tie.sections) == (SubscriptionState.active, 1 << bit)
        (consent,) = subscribers.consents(session, reader.id)
        assert (consent.kind, consent.given, consent.channel, consent.note, consent.language) == (
            "subscribe",
            True,
            "csv_import",
            "a \\ form",
            "hr-BA",
        )
        assert consent.at == datetime(2024, 2, 29, 10, tzinfo=UTC)
        assert consent.newsletter_id == found.id
        other = subscribers.by_hash(session, tokens.address_hash("wilma@xn--bcher-kva.example.net"))
        assert other is not None
        assert (other.name, other.languages, other.time_zone) == ("", [], "UTC")
        masks = set(session.scalars(select(Subscription.sections)))
        assert masks == {1 << bit, ALL_SECTIONS, 0}


def test_a_second_run_adds_nothing(database: Database, take: Import) -> None:
    first = take(SAMPLE / "readers.csv")
    before = stored(database)
    assert counts(first) == (500, 500, 0, 0, 0)
    assert before == (500, 500, 500)
    assert counts(take(SAMPLE / "readers.csv")) == (500, 0, 500, 0, 0)
    assert stored(database) == before
    assert not (SAMPLE / "readers.rejects.csv").exists()


def test_interrupted_import_can_be_repeated(database: Database, tokens: Tokens, newsletter: str) -> None:
    class Killed(BaseException):
        pass

    def die(progress: Progress) -> None:
        if progress.lines == 300:
            raise Killed

    def run(on_progress: Callable[[Progress], None] | None = None) -> ImportReport:
        path = SAMPLE / "readers.csv"
        pads = tokens.hmac_pads()
        return import_subscribers(
            database, path, newsletter, hmac_pads=pads, now=NOW, on_progress=on_progress, chunk_lines=100
        )

    with pytest.raises(Killed):
        run(die)
    there, *others = stored(database)  # whole chunks: the one after may have been on its way
    assert there in (300, 400, 500)
    assert others == [there, there]
    assert counts(run()) == (500, 500 - there, there, 0, 0)
    assert stored(database) == (500, 500, 500)


def test_existing_subscribers_keep_their_preferences(
    database: Database, tokens: Tokens, take: Import, newsletter: str
) -> None:
    take("ana@example.org,Ana,hr,water-and-rivers,Europe/Zagreb,form,2024-01-01\n")
    with database.transaction() as session:
        reader = subscribers.by_hash(session, tokens.address_hash("ana@example.org"))
        found = newsletters.by_slug(session, newsletter)
        assert reader is not None
        assert found is not None
        subscribers.set_state(session, found.id, reader.id, SubscriptionState.unsubscribed, NOW)
    assert counts(take("ANA@example.org,Anna,fr,,Europe/Paris,list,2025-01-01\n")) == (1, 0, 1, 0, 0)
    with database.transaction() as session:
        again = subscribers.by_hash(session, tokens.address_hash("ana@example.org"))
        assert again is not None
        assert (again.address, again.name, again.languages) == ("ana@example.org", "Ana", ["hr"])
        tie = subscribers.subscription(session, found.id, again.id)
        assert tie is not None
        assert tie.state is SubscriptionState.unsubscribed
        assert len(subscribers.consents(session, again.id)) == 1


def test_a_subscriber_of_another_newsletter_gets_a_subscription_here(database: Database, take: Import) -> None:
    take("ana@example.org,Ana,hr,none,Europe/Zagreb,form,2024-01-01\n")
    report = take("ana@example.org,Anna,fr,,,list,2025-01-01\nbo@example.org,Bo,en,,,list,2025-01-01\n", slug="second")
    assert counts(report) == (2, 2, 0, 0, 0)
    with database.transaction() as session:
        assert session.scalar(select(Subscriber.name).where(Subscriber.address == "ana@example.org")) == "Ana"
        query = (
            select(Newsletter.slug, Subscription.sections)
            .join(Newsletter, Newsletter.id == Subscription.newsletter_id)
            .join(Subscriber, Subscriber.id == Subscription.subscriber_id)
        )
        found = session.execute(query.where(Subscriber.address == "ana@example.org").order_by(Newsletter.id))
        assert [tuple(row) for row in found] == [("lumen-basin", 0), ("second", ALL_SECTIONS)]
    assert stored(database) == (2, 3, 3)


def test_known_subscribers_after_many_new_ones(
    database: Database, tokens: Tokens, take: Import, newsletter: str, tmp_path: Path
) -> None:
    take("r250@example.org,Old,hr,none,,form,2024-01-01\nr480@example.org,Old,hr,none,,form,2024-01-01\n")
    take("r260@example.org,Other,hr,none,,form,2024-01-01\n", slug="second")
    suppress(database, tokens, "r270@example.org")
    path = tmp_path / "many.csv"
    path.write_text(HEADER + "".join(f"r{n}@example.org,R,en,,,form,2024-01-01\n" for n in range(500)))
    told: list[Progress] = []
    report = import_subscribers(
        database,
        path,
        newsletter,
        hmac_pads=tokens.hmac_pads(),
        now=NOW,
        on_progress=told.append,
        chunk_lines=50,
    )
    assert counts(report) == (500, 497, 2, 1, 0)
    assert [progress.lines for progress in told] == list(range(50, 501, 50))
    assert stored(database) == (499, 500, 500)
    with database.transaction() as session:
        assert session.scalar(select(func.count()).where(Subscriber.name != "R")) == 3


def test_consents_are_listed_in_order(database: Database, tokens: Tokens, take: Import, newsletter: str) -> None:
    take("ana@example.org,Ana,hr,,,letter,2025-03-01\n")
    take("ana@example.org,Ana,hr,,,form,2024-02-01\n", slug="second")
    with database.transaction() as session:
        reader = subscribers.by_hash(session, tokens.address_hash("ana@example.org"))
        found = newsletters.by_slug(session, newsletter)
        assert reader
        assert found
        subscribers.unsubscribe(session, found.id, None, reader.id, ConsentChannel.one_click, NOW)
    with database.transaction() as session:
        told = [(c.given, c.channel, c.note, c.newsletter_id) for c in subscribers.consents(session, reader.id)]
    assert [what[:3] for what in told] == [
        (True, ConsentChannel.csv_import, "form"),
        (True, ConsentChannel.csv_import, "letter"),
        (False, ConsentChannel.one_click, ""),
    ]
    assert told[0][3] != told[1][3] == told[2][3]


def test_nothing_is_stored_of_suppressed_addresses(database: Database, tokens: Tokens, take: Import) -> None:
    for address in (SAMPLE / "suppressed.txt").read_text(encoding="utf-8").split():
        suppress(database, tokens, address)
    suppress(database, tokens, "WILMA@Bücher.example.net")
    report = take(SAMPLE / "readers.csv")
    assert counts(report) == (500, 494, 0, 6, 0)
    assert counts(take("wilma@xn--bcher-kva.example.net,W,de,,,form,2024-01-01\n")) == (1, 0, 0, 1, 0)
    assert stored(database) == (494, 494, 494)


def test_rejected_lines_can_be_corrected_in_a_spreadsheet_and_imported(
    database: Database, take: Import, tmp_path: Path
) -> None:
    report = take(
        "good@example.org,Good,en,,,form,2024-01-01\n"
        "no consent@example.org,=cmd(),en,-,,+form,2024-01-01\n"
        "\n"
        'a@example.org,"Una,en,,,form,2024-01-01\n'
        "b@example.org,Bo\0,en,,,form,2024-01-01\n"
        "good@example.org,Again,en,,,form,2024-01-01\n"
    )
    assert counts(report) == (5, 1, 0, 0, 4)
    assert report.rejects_path == tmp_path / "readers.rejects.csv"
    written = report.rejects_path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbfline,reason,address,name,")
    rows = list(csv.reader(io.StringIO(written.decode("utf-8-sig"))))
    assert [row[0] for row in rows[1:]] == ["3", "5", "6", "7"]
    assert rows[1][1].startswith("the address “no consent@example.org” is not valid")
    assert rows[1][2:] == ["no consent@example.org", "'=cmd()", "en", "'-", "", "'+form", "2024-01-01"]
    assert rows[2][1].startswith("its quotation marks are not balanced, perhaps because of a line break in a cell")
    assert rows[2][2:] == ["a@example.org", '"Una', "en", "", "", "form", "2024-01-01"]
    assert rows[4][1] == "it repeats the address of line 2"

    mended = written.replace(b"no consent@", b"consent@")
    again = take(mended, rejects_path=tmp_path / "again.csv")
    assert counts(again) == (4, 1, 1, 0, 2)
    with database.transaction() as session:
        name, sections = session.execute(
            select(Subscriber.name, Subscription.sections)
            .join(Subscription, Subscription.subscriber_id == Subscriber.id)
            .where(Subscriber.address == "consent@example.org")
        ).one()
        assert (name, sections) == ("=cmd()", 0)


def test_rejects_of_an_earlier_run_are_removed(take: Import, tmp_path: Path) -> None:
    assert take("nobody\n").rejects_path == tmp_path / "readers.rejects.csv"
    assert take("a@example.org,A,en,,,form,2024-01-01\n").rejects_path is None
    assert not (tmp_path / "readers.rejects.csv").exists()


@pytest.mark.parametrize(
    "content",
    [
        (HEADER + "a@example.org,Ćana,en,,,form,2024-01-01\n").encode("utf-8-sig"),
        (HEADER + "a@example.org,Ćana,en,,,form,2024-01-01\n").encode("utf-16"),
        b"\xfe\xff" + (HEADER + "a@example.org,Ćana,en,,,form,2024-01-01").encode("utf-16-be"),
        (HEADER + "a@example.org,Ćana,en,,,form,2024-01-01\n").replace(",", ";").replace("\n", "\r\n").encode(),
        (HEADER + "a@example.org,Ćana,en,,,form,2024-01-01").replace("\n", "\r").encode(),
    ],
    ids=["utf-8 with BOM", "utf-16", "utf-16 big-endian", "semicolons and CRLF", "CR"],
)
def test_formats_of_spreadsheet_programs_are_read(database: Database, take: Import, content: bytes) -> None:
    assert counts(take(content)) == (1, 1, 0, 0, 0)
    with database.transaction() as session:
        assert session.scalar(select(Subscriber.name)) == "Ćana"


_MANY = HEADER.encode() + b"".join(b"r%d@example.org,R,en,,,form,2024-01-01\n" % n for n in range(30_000))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty: its first line must name the columns."),
        (b"\xef\xbb\xbf", "The file is empty: its first line must name the columns."),
        (b"a@example.org,Ana,en\n", "Columns “a@example.org”, “Ana”, “en” are not known. There is no column address "),
        (
            random.Random(1).randbytes(50_000),
            "Byte 1, on line 1, is not UTF-8: save the file as “CSV UTF-8”.",
        ),
        (
            b"PK\x03\x04" + bytes(100),
            "This is a spreadsheet or an archive, not text: save it as “CSV UTF-8”.",
        ),
        (bytes(3_000_000), "Line 1 is longer than a million bytes: this is not a list of subscribers."),
        (HEADER.encode("utf-16-le"), "The file is not text: save it as “CSV UTF-8”."),
        (HEADER.encode("utf-16") + b"\x00\xd8\n", "Byte 143, on line 2, is not UTF-16: save the file as"),
        (
            _MANY + b"x@example.org,Andr\xe9,fr,,,form,2024-01-01\n",
            f"Byte {len(_MANY) + 19}, on line 30002, is not UTF-8: save",
        ),
        (
            _MANY + "x@example.org,André".encode()[:-1],
            f"Byte {len(_MANY) + 19}, on line 30002, is not UTF-8: save",
        ),
    ],
    ids=[
        "empty",
        "only a BOM",
        "no header",
        "junk",
        "xlsx",
        "zeros",
        "no BOM",
        "half a UTF-16",
        "Latin-1",
        "cut",
    ],
)
def test_unreadable_file_is_refused_before_anything_is_stored(
    database: Database, take: Import, tmp_path: Path, content: bytes, sentence: str
) -> None:
    with pytest.raises(ImportRefused) as refused:
        take(content)
    assert str(refused.value).startswith(sentence)
    assert stored(database) == (0, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["readers.csv"]


def test_refusals_unrelated_to_the_content(take: Import, tmp_path: Path) -> None:
    with pytest.raises(NewsletterNotFound, match=r"There is no newsletter “gazette”\. There is: lumen-basin, second\."):
        take("a@example.org,A,en,,,form,2024-01-01\n", slug="gazette")
    with pytest.raises(ImportRefused, match=r"missing\.csv cannot be opened: No such file"):
        take(tmp_path / "missing.csv")
    with pytest.raises(ImportRefused, match="would overwrite the imported file"):
        take("a@example.org,A,en,,,form,2024-01-01\n", rejects_path=tmp_path / "readers.csv")


def test_open_file_is_not_closed_and_progress_is_reported(
    database: Database, tokens: Tokens, newsletter: str, tmp_path: Path
) -> None:
    told: list[Progress] = []
    upload = io.BytesIO((SAMPLE / "readers.csv").read_bytes())
    report = import_subscribers(
        database,
        upload,
        newsletter,
        rejects_path=tmp_path / "rejects.csv",
        hmac_pads=tokens.hmac_pads(),
        now=NOW,
        on_progress=told.append,
        chunk_lines=200,
    )
    assert report.added == 500
    assert not upload.closed
    size = len(upload.getvalue())
    assert [progress.lines for progress in told] == [200, 400, 500]
    assert told[-1] == Progress(500, size, size)


def test_subscriber_added_concurrently(database: Database, tokens: Tokens, take: Import) -> None:
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            hashed = tokens.address_hash("ana@example.org")
            session.add(Subscriber(address="ana@example.org", address_hash=hashed, name="First", languages=[]))
            session.flush()
            import_running = pool.submit(take, "ana@example.org,Second,en,,,form,2024-01-01\n")
            wait_for_lock(session, import_running)
        assert counts(import_running.result()) == (1, 1, 0, 0, 0)
    assert stored(database) == (1, 1, 1)
    with database.transaction() as session:
        assert session.scalar(select(Subscriber.name)) == "First"


def test_readers_keep_the_order_of_the_file(database: Database, take: Import) -> None:
    take("".join(f"r{n}@example.org,R,en,,,form,2024-01-01\n" for n in range(200)))
    with database.transaction() as session:
        found = session.scalars(select(Subscriber.address).order_by(Subscriber.id)).all()
    assert found == [f"r{n}@example.org" for n in range(200)]


def test_sign_up_confirmed_concurrently(database: Database, tokens: Tokens, take: Import, newsletter: str) -> None:
    hashed = tokens.address_hash("ana@example.org")
    wanted = sign_up.SignupForm(
        "ana@example.org",
        hashed,
        hashed,
        Requester(b"network"),
        Preferences(sections=1 << 1, languages=("en",), name="Ana"),
        "Send me it.",
        ConsentChannel.sign_up_form,
    )
    assert sign_up.request(database, newsletter, wanted, ["en"], NOW)
    with database.transaction() as session:
        signup = session.scalars(select(Signup.id)).one()
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:  # as an import that has not ended yet
            reader = subscribers.get_or_create(session, "ana@example.org", hashed, ["hr"])
            found = newsletters.by_slug(session, newsletter)
            assert found
            subscribers.subscribe(session, found.id, reader.id, ALL_SECTIONS)
            confirming = pool.submit(sign_up.confirm, database, signup, ["en"], NOW)
            wait_for_lock(session, confirming)
        done = confirming.result()
        assert done
        assert done.confirmed
    assert stored(database) == (1, 1, 1)
    with database.transaction() as session:
        assert session.scalar(select(Subscription.sections)) == 1 << 1
    assert counts(take("ana@example.org,Ana,hr,,,form,2024-01-01\n")) == (1, 0, 1, 0, 0)


def test_overlapping_files_imported_concurrently(
    database: Database, tokens: Tokens, newsletter: str, tmp_path: Path
) -> None:
    lines = [f"r{n}@example.org,R,en,,,form,2024-01-01\n" for n in range(900)]
    files = [lines[:600], lines[:299:-1]]  # the second one from its end

    def run(number: int) -> ImportReport:
        path = tmp_path / f"{number}.csv"
        path.write_text(HEADER + "".join(files[number]))
        return import_subscribers(database, path, newsletter, hmac_pads=tokens.hmac_pads(), now=NOW, chunk_lines=50)

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(run, range(2)))
    assert stored(database) == (900, 900, 900)
    assert sum(report.added for report in reports) == 900
    assert [report.added + report.known for report in reports] == [600, 600]


def test_deadlock_with_the_same_subscribers_in_another_order(
    database: Database, tokens: Tokens, newsletter: str
) -> None:
    # Readers are stored in the order of their hashes.
    first, second = sorted(["first@example.org", "second@example.org"], key=tokens.address_hash)
    chosen = RowChoices(Preferences(sections=0), "form")
    both = CsvSubscribers(
        CsvSubscriber(n, address, address, "", chosen, NOW) for n, address in enumerate([second, first])
    )

    def take_in() -> None:
        with database.transaction() as session:
            found = newsletters.by_slug(session, newsletter)
            assert found
            session.execute(text("SET LOCAL deadlock_timeout = '2s'"))
            subscriber_import.bulk_insert(session, found.id, both, tokens.hmac_pads())

    with ThreadPoolExecutor(1) as pool, database.transaction() as session:
        session.execute(text("SET LOCAL deadlock_timeout = '60s'"))  # so that it is the other one that ends
        add(session, tokens, second)
        running = pool.submit(take_in)
        wait_for_lock(session, running)
        add(session, tokens, first)
        with pytest.raises(subscriber_import.ConcurrentChange):
            running.result()
    assert stored(database) == (2, 0, 0)


def test_subscriber_erased_concurrently(database: Database, tokens: Tokens, take: Import) -> None:
    line = "ana@example.org,Ana,en,,,form,2024-01-01\n"
    take(line)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            session.execute(delete(Subscriber))
            running = pool.submit(take, line, slug="second")
            wait_for_lock(session, running)
            subscribers.suppress(
                session,
                tokens.address_hash("ana@example.org"),
                SuppressionReason.erased,
                SuppressionSource.system,
            )
        assert counts(running.result()) == (1, 0, 0, 1, 0)
    assert stored(database) == (0, 0, 0)


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("pg_terminate_backend", "The database does not answer: the connection is lost."),
        ("pg_cancel_backend", "The database stopped accepting subscribers: canceling statement due to user request."),
    ],
)
def test_database_failure_during_the_import(
    database: Database, tokens: Tokens, newsletter: str, tmp_path: Path, end: str, sentence: str
) -> None:
    path = tmp_path / "readers.csv"
    path.write_text(HEADER + "".join(f"r{n}@example.org,R,en,,,form,2024-01-01\n" for n in range(300)))
    told: list[Progress] = []

    def run() -> ImportReport:
        return import_subscribers(
            database,
            path,
            newsletter,
            hmac_pads=tokens.hmac_pads(),
            now=NOW,
            on_progress=told.append,
            chunk_lines=100,
        )

    with ThreadPoolExecutor(1) as pool, database.transaction() as session:
        add(session, tokens, "r150@example.org")
        running = pool.submit(run)
        pid = wait_for_lock(session, running)
        session.execute(text(f"SELECT {end}(:pid)"), {"pid": pid})
        with pytest.raises(DatabaseDown) as down:
            running.result()
        session.rollback()
    assert str(down.value) == (
        f"{sentence} What was stored is kept. Import the file again when the database is available to add the rest."
    )
    assert [progress.lines for progress in told] == [100]
    before = stored(database)
    assert before in ((100, 100, 100), (200, 200, 200))  # with the third hundred, or without
    assert counts(run()) == (300, 300 - before[0], before[0], 0, 0)


_CELL = st.sampled_from(
    ["a@example.org", "b@example.org", "supp@example.org", "", "en", "none", '"', "form", "2024-01-01"]
)
_LINE = st.one_of(
    st.lists(_CELL | st.text(max_size=6), max_size=9).map(",".join),
    st.builds(
        "{}@example.org,{},en,,,form,2024-01-01".format,
        st.sampled_from(["a", "b", "c", "supp"]),
        st.text(max_size=5),
    ),
    st.just(""),
)
_FILE = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(_LINE, max_size=12).map(lambda lines: (HEADER + "\n".join(lines)).encode("utf-8", "replace")),
)


@settings(
    max_examples=min(150, settings().max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=_FILE)
def test_every_line_of_any_file_is_accounted_for(
    database: Database, tokens: Tokens, take: Import, tmp_path: Path, content: bytes
) -> None:
    suppress(database, tokens, "supp@example.org")
    before = stored(database)
    try:
        report = take(content)
    except ImportRefused as refused:
        sentence = str(refused)
    else:
        sentence = ""
    if sentence:
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert stored(database) == before
        return
    assert report.lines == report.added + report.known + report.suppressed + report.rejected
    people, ties, consents = stored(database)
    assert (ties - before[1], consents - before[2]) == (report.added, report.added)
    assert people == ties
    rejects = tmp_path / "readers.rejects.csv"
    assert rejects.exists() == (report.rejected > 0)
    if report.rejects_path:
        with rejects.open(encoding="utf-8-sig", newline="") as file:
            assert sum(1 for _ in csv.reader(file)) == report.rejected + 1
    again = take(content)
    assert counts(again) == counts(replace(report, added=0, known=report.known + report.added))
