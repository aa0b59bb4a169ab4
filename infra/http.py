"""HTTP as the extracts use it: exact bytes out, our errors up. The only place that imports httpx.

A service that is away, too slow, or answers 429 or 5xx is unavailable; every other answer is handed
back with its status, for the caller knows what a 404 means to it. An answer has an end: in bytes, with its
compression undone, and in time. While a service has asked us to wait (`Retry-After`) it is not asked again.
"""

import asyncio
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

from lineage.errors import NotFoundError, RejectedError, SettingsError, UnavailableError

if TYPE_CHECKING:
    import httpx  # slow to load: each function does it, for few processes ask a server

IDLE: Final = 2.0  # s; uvicorn, as in an OT-2, closes after 5: who asks at that moment gets no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a server."""

    location: str  # the path with its query, without scheme, host and port
    status: int
    body: bytes  # with transfer and content encoding undone


LARGEST: Final = 64 * 1024 * 1024  # bytes of one answer
SLOWEST: Final = 6  # times its patience a whole answer may take, whose bytes keep coming
WAITED_FOR: Final = 60.0  # s; who is asked to wait longer is told so
LONGEST_WAIT: Final = 3600.0  # s; a service that asks for more is asked again then
_NOT_BEFORE: dict[
    str, float
] = {}  # service and URL → the time of `monotonic` until which it asked us to wait


class HttpClient:
    """A connection pool to one service; `http_client` opens and closes it."""

    def __init__(self, service: str, client: "httpx.AsyncClient", patience: timedelta) -> None:
        self._service = service
        self._client = client
        self._whole = SLOWEST * patience.total_seconds()
        self._key = f"{service} {client.base_url}"

    async def get(
        self, path: str, params: Mapping[str, int | str] | None = None, *, also: Container[int] = ()
    ) -> Answer:
        """GET; raises UnavailableError when there is no answer, or 429, or 5xx that is not in `also`.

        While it has asked us to wait it is asked later, or not at all when that is over WAITED_FOR away.
        Raises RejectedError for an answer that is too large.
        """
        import httpx

        await self._wait_as_asked()
        try:
            async with asyncio.timeout(self._whole):
                return await self._get(path, dict(params or {}), also)
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(self._service, reason, "Check that it runs, and its URL.") from error

    async def _get(self, path: str, params: Mapping[str, int | str], also: Container[int]) -> Answer:
        async with self._client.stream("GET", path, params=params) as response:
            location, status = response.request.url.raw_path.decode("ascii"), response.status_code
            if (status == 429 or status >= 500) and status not in also:
                after = _retry_after(response.headers.get("Retry-After"))
                if after:
                    _NOT_BEFORE[self._key] = monotonic() + after
                raise self._busy(f"it answered {status} to {location}", after)
            body = bytearray()
            async for part in response.aiter_bytes(64 * 1024):
                body += part
                if len(body) > LARGEST:
                    raise RejectedError(
                        f"{self._service} answered {location} with more than {LARGEST:,} bytes, which are "
                        "not read: check its URL, or ask it for less at a time."
                    )
        return Answer(location=location, status=status, body=bytes(body))

    async def _wait_as_asked(self) -> None:
        left = _NOT_BEFORE.get(self._key, 0.0) - monotonic()
        if left > WAITED_FOR:
            raise self._busy("it asked us to wait", left)
        if left > 0:
            await asyncio.sleep(left)
        _NOT_BEFORE.pop(self._key, None)

    def _busy(self, reason: str, after: float | None) -> UnavailableError:
        wait = f", and to be asked again in {after:.0f} s" if after else ""
        return UnavailableError(self._service, reason + wait, after=after)


def _retry_after(said: str | None) -> float | None:
    """Seconds of a `Retry-After` (RFC 9110, 10.2.3: seconds or a date); None when it says nothing usable."""
    if said is None:
        return None
    if said.isascii() and said.isdigit():
        return min(float(said[:9]), LONGEST_WAIT)
    try:
        seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Raise our errors for what another library's use of httpx raises.

    UnavailableError when the service is away, NotFoundError when it has not what was asked for, RejectedError
    when it refuses.
    """
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise UnavailableError(service, str(error) or type(error).__name__) from error
    except httpx.HTTPStatusError as error:
        status, path = error.response.status_code, error.request.url.path
        if status == 429 or status >= 500:
            raise UnavailableError(service, f"it answered {status} to {path}") from error
        if status == 404:
            sentence = f"{service} answered 404 to {path}: it was deleted, or the URL is wrong; check both."
            raise NotFoundError(sentence) from error
        raise RejectedError(f"{service} answered {status} to {path}: check its URL and its key.") from error


@asynccontextmanager
async def http_client(
    service: str, url: str, *, headers: Mapping[str, str], patience: timedelta = timedelta(seconds=10)
) -> AsyncIterator[HttpClient]:
    """A client for one service; `patience` bounds each wait for bytes, and SLOWEST times it the whole answer.

    Raises SettingsError when `url` is not an http(s) URL.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"The URL of {service} must start with http:// or https://: correct it.")
    import httpx

    async with httpx.AsyncClient(
        base_url=url,
        headers=dict(headers),
        timeout=patience.total_seconds(),
        limits=httpx.Limits(keepalive_expiry=IDLE),
        trust_env=False,
    ) as client:
        yield HttpClient(service, client, patience)
