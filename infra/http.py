"""HTTP as the extracts use it: exact bytes out, our errors up. The only place that imports httpx.

A service that is away, too slow, or answers 429 or 5xx is unavailable; every other answer is handed
back with its status, for the caller knows what a 404 means to it.
"""

from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import httpx

from lineage.errors import NotFoundError, RejectedError, SettingsError, UnavailableError

IDLE: Final = 2.0  # s; uvicorn, as in an OT-2, closes after 5: who asks at that moment gets no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a server."""

    location: str  # the path with its query, without scheme, host and port
    status: int
    body: bytes  # with transfer and content encoding undone


class HttpClient:
    """A connection pool to one service; `http_client` opens and closes it."""

    def __init__(self, service: str, client: httpx.AsyncClient) -> None:
        self._service = service
        self._client = client

    async def get(
        self, path: str, params: Mapping[str, int | str] | None = None, *, also: Container[int] = ()
    ) -> Answer:
        """GET; raises UnavailableError when there is no answer, or 429, or 5xx that is not in `also`."""
        try:
            response = await self._client.get(path, params=dict(params or {}))
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(self._service, reason, "Check that it runs, and its URL.") from error
        answer = Answer(
            location=response.request.url.raw_path.decode("ascii"),
            status=response.status_code,
            body=response.content,
        )
        if (answer.status == 429 or answer.status >= 500) and answer.status not in also:
            raise UnavailableError(self._service, f"it answered {answer.status} to {answer.location}")
        return answer


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Raise our errors for what another library's use of httpx raises.

    UnavailableError when the service is away, NotFoundError when it has not what was asked for, RejectedError
    when it refuses.
    """
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
    """A client for one service; `patience` bounds each wait for bytes, not the whole answer.

    Raises SettingsError when `url` is not an http(s) URL.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"The URL of {service} must start with http:// or https://: correct it.")
    async with httpx.AsyncClient(
        base_url=url,
        headers=dict(headers),
        timeout=patience.total_seconds(),
        limits=httpx.Limits(keepalive_expiry=IDLE),
        trust_env=False,
    ) as client:
        yield HttpClient(service, client)
