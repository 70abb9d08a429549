"""Keeps the bytes of pictures in a folder or in an object store that speaks S3."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from mailer.domain.errors import PictureMissing, PictureStoreDown

_TIMEOUT = timedelta(seconds=10)
"""For one request, with its retries. A page waits for it."""
_MAX_RETRIES = 2


class ObjectStore:
    """The pictures below a URL: ``file:///folder`` or ``s3://bucket/prefix``. Thread-safe.

    The name of an object is its SHA-256. Credentials, region and endpoint of S3 are those in the environment (AWS_…).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._store: LocalStore | S3Store
        if url.startswith("file:"):
            self._store = LocalStore.from_url(url, mkdir=True)
        else:
            self._store = S3Store.from_url(
                url,
                client_options={"allow_http": True, "timeout": _TIMEOUT, "connect_timeout": timedelta(seconds=3)},
                retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": _TIMEOUT},
            )

    def put(self, sha256: str, data: bytes) -> None:
        """Store a picture. Raises PictureStoreDown."""
        try:
            obstore.put(self._store, _path(sha256), data)
        except (BaseError, OSError) as error:
            raise self._down(error) from error

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a picture. Raises PictureMissing and PictureStoreDown."""
        try:
            return bytes(obstore.get(self._store, _path(sha256)).bytes())
        except FileNotFoundError as error:
            raise PictureMissing(f"The picture {sha256} is not in {self.url}.") from error
        except (BaseError, OSError) as error:
            raise self._down(error) from error

    def delete(self, names: Sequence[str]) -> None:
        """Delete pictures; one that is not there is as good as deleted. Raises PictureStoreDown."""
        for sha256 in names:
            try:
                obstore.delete(self._store, _path(sha256))
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise self._down(error) from error

    def names(self) -> Iterator[list[str]]:
        """Yield the SHA-256 of the stored pictures in lists of up to 1,000. Raises PictureStoreDown."""
        try:
            for found in obstore.list(self._store, chunk_size=1000):
                yield [name for item in found if len(name := item["path"].rpartition("/")[2]) == _NAME_CHARS]
        except (BaseError, OSError) as error:
            raise self._down(error) from error

    def _down(self, error: Exception) -> PictureStoreDown:
        return PictureStoreDown(f"The picture store {self.url} does not answer: {str(error).splitlines()[0][:300]}")


_NAME_CHARS = 64


def _path(sha256: str) -> str:
    """Return the object's name; the first two digits are its folder, so that no folder has too many files."""
    return f"{sha256[:2]}/{sha256}"
