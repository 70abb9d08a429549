"""Pictures in a folder and in an object store that speaks S3: the same tests for both."""

import urllib.request
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from mailer.adapters.picture_store import ObjectStore
from mailer.domain.errors import PictureMissing, PictureStoreDown

DATA = [bytes([number]) * (number + 1) for number in range(3)]
NAMES = [sha256(data).hexdigest() for data in DATA]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server that speaks S3, with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(urllib.request.Request(f"{address}/pictures", method="PUT")).close()
    yield address
    server.stop()


@pytest.fixture
def to_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def point(address: str) -> None:
        values = {"ENDPOINT_URL": address, "REGION": "us-east-1"}
        values |= {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key"}
        for name, value in values.items():
            monkeypatch.setenv(f"AWS_{name}", value)

    return point


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, to_s3: Callable[[str], None]) -> str:
    if request.param == "folder":
        return f"{tmp_path.as_uri()}/new folder"
    to_s3(request.getfixturevalue("s3"))
    return "s3://pictures/some/prefix"


def test_pictures_are_stored_listed_and_deleted(url: str) -> None:
    store = ObjectStore(url)
    assert list(chain.from_iterable(store.names())) == []
    for name, data in zip(NAMES, DATA, strict=True):
        store.put(name, data)
        store.put(name, data)
    assert [ObjectStore(url).get(name) for name in NAMES] == DATA
    assert sorted(chain.from_iterable(store.names())) == sorted(NAMES)
    store.delete([NAMES[0], "f" * 64, NAMES[1]])
    assert list(chain.from_iterable(store.names())) == [NAMES[2]]
    with pytest.raises(PictureMissing, match=NAMES[0]):
        store.get(NAMES[0])
    store.delete([NAMES[2]])


def test_a_store_that_does_not_answer_is_named(to_s3: Callable[[str], None]) -> None:
    to_s3("http://127.0.0.1:9")  # the port of "discard", where nothing listens
    store = ObjectStore("s3://pictures")
    for act in (
        lambda: store.put(NAMES[0], DATA[0]),
        lambda: store.get(NAMES[0]),
        lambda: store.delete(NAMES[:1]),
        lambda: list(store.names()),
    ):
        with pytest.raises(PictureStoreDown, match=r"^The picture store s3://pictures does not answer"):
            act()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("in the way")
    with pytest.raises(PictureStoreDown, match="does not answer"):
        ObjectStore(tmp_path.as_uri()).put("ab" * 32, b"x")
