"""Looks up links without letting them lead to this network.

Links come from documents, and redirects from anybody. So every host is resolved by ourselves, all its addresses must
be public, and the connection goes to an address that was checked. This is done anew for each redirect. Bodies are not
read.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from mailer.domain.network_checks import LookupOutcome, LookupResult
from mailer.domain.public_addresses import IpAddress, NotPublic, is_public, read_host
from mailer.domain.staff_texts import StaffText, gettext

_MAX_LOCATION_CHARS = 4000
_HTTP_PORTS = {"http": 80, "https": 443}
_GONE = (404, 410)
_TURNED_AWAY = (401, 403, 429, 451, 999)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class LinkLookupLimits:
    max_redirects: int = 5
    step_seconds: float = 10
    """For connecting, and for each wait for bytes."""
    link_seconds: float = 25
    """For a link with all its redirects."""
    total_seconds: float = 240
    """For all links; those that are left then are not looked up."""
    parallel_hosts: int = 8
    """The links of one host are looked up one after the other."""
    host_pause_seconds: float = 0.5
    """Between two links of one host."""


class _Unusable(Exception):
    """A link that cannot work. The argument says why."""

    def __init__(self, reason: StaffText) -> None:
        self.reason = reason


class LinkLookup:
    """Looks up links: HEAD, then GET where HEAD is refused."""

    def __init__(
        self,
        resolve: Callable[[str], Awaitable[Sequence[IpAddress]]],
        user_agent: str,
        limits: LinkLookupLimits = LinkLookupLimits(),
        *,
        is_allowed: Callable[[IpAddress], bool] = is_public,
        ports: Iterable[int] = _HTTP_PORTS.values(),
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """``resolve`` returns all addresses of a host, none if it does not exist, and raises OSError without DNS."""
        self._resolve = resolve
        self._user_agent = user_agent
        self._limits = limits
        self._is_allowed = is_allowed
        self._ports = frozenset(ports)
        self._ssl_context = ssl_context or ssl.create_default_context()

    async def look_up(self, urls: Iterable[str], save: Callable[[str, LookupResult], None]) -> None:
        """Look up links, and save each result as it becomes known. Those for which the time is too short have none."""
        by_host: defaultdict[str, list[str]] = defaultdict(list)
        for url in urls:
            by_host[urlsplit(url).netloc.lower()].append(url)
        parallel = asyncio.Semaphore(self._limits.parallel_hosts)

        async def look_up_host(links: Sequence[str]) -> None:
            async with parallel:
                for at, link in enumerate(links):
                    if at:
                        await asyncio.sleep(self._limits.host_pause_seconds)
                    save(link, await self._classify(link))

        try:
            async with asyncio.timeout(self._limits.total_seconds), asyncio.TaskGroup() as group:
                for links in by_host.values():
                    group.create_task(look_up_host(links))
        except TimeoutError:
            return

    async def _classify(self, url: str) -> LookupResult:
        try:
            async with asyncio.timeout(self._limits.link_seconds):
                status = await self._final_status(httpx.URL(url))
        except (TimeoutError, httpx.TimeoutException):
            return LookupResult(LookupOutcome.not_checked, gettext("there was no answer in time"))
        except _Unusable as error:
            return LookupResult(LookupOutcome.broken, error.reason)
        except (httpx.InvalidURL, UnicodeError):
            return LookupResult(LookupOutcome.broken, gettext("it is not a valid web address"))
        except httpx.RemoteProtocolError:
            return LookupResult(LookupOutcome.unclear, gettext("the answer could not be read"))
        except httpx.ConnectError as error:
            if isinstance(_root(error), ssl.SSLError):
                return LookupResult(LookupOutcome.unclear, gettext("no secure connection could be made"))
            return LookupResult(LookupOutcome.not_checked, gettext("no connection could be made"))
        except httpx.TransportError:
            return LookupResult(LookupOutcome.not_checked, gettext("the connection was lost"))
        except OSError:
            return LookupResult(LookupOutcome.not_checked, gettext("DNS did not answer"))
        if 200 <= status < 300:
            return LookupResult(LookupOutcome.works)
        if status in _GONE:
            return LookupResult(LookupOutcome.broken, gettext("there is no such page (%(status)s)", status=str(status)))
        if status in _TURNED_AWAY:
            reason = gettext("the server turns programs away (%(status)s)", status=str(status))
        else:
            reason = gettext("the server answered with %(status)s", status=str(status))
        return LookupResult(LookupOutcome.unclear, reason)

    async def _final_status(self, url: httpx.URL) -> int:
        """Return the status after all redirects."""
        for _ in range(self._limits.max_redirects + 1):
            try:
                status, location = await self._request("HEAD", url)
            except httpx.RemoteProtocolError:
                status, location = 0, ""
            if status not in _REDIRECTS and not 200 <= status < 300:
                status, location = await self._request("GET", url)
            if status not in _REDIRECTS or not location:
                return status
            url = url.join(location)
        raise _Unusable(gettext("it redirects too often"))

    async def _request(self, method: str, url: httpx.URL) -> tuple[int, str]:
        """Return the status of an answer, and where it redirects to."""
        address = await self._checked_address(url)
        request = httpx.Request(
            method,
            url.copy_with(host=str(address), userinfo=b"", fragment=None),
            headers={
                "Host": url.netloc.decode("ascii").rpartition("@")[2],
                "User-Agent": self._user_agent,
                "Accept": "*/*",
            },
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self._limits.step_seconds).as_dict(),
            },
        )
        async with httpx.AsyncHTTPTransport(verify=self._ssl_context, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            await response.aclose()
        return response.status_code, response.headers.get("Location", "")[:_MAX_LOCATION_CHARS]

    async def _checked_address(self, url: httpx.URL) -> IpAddress:
        """Return an address of the URL's host. Raises _Unusable unless all of them may be connected to."""
        if url.scheme not in _HTTP_PORTS:
            raise _Unusable(gettext("it leads to an address that is not on the web"))
        if (url.port or _HTTP_PORTS[url.scheme]) not in self._ports:
            raise _Unusable(gettext("it leads to a port that is not the web's"))
        try:
            literal = read_host(url.host)
        except NotPublic:
            raise _Unusable(gettext("it leads to an address that is not public")) from None
        addresses = [literal] if literal else list(await self._resolve(url.raw_host.decode("ascii")))
        if not addresses:
            raise _Unusable(gettext("the host %(host)s does not exist", host=url.host))
        if not all(map(self._is_allowed, addresses)):
            raise _Unusable(gettext("it leads to an address that is not public"))
        return min(addresses, key=lambda address: address.version)


def _root(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
