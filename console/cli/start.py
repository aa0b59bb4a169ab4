"""How every command begins: settings, logs and metrics first.

A command starts first and imports what it needs afterwards: prometheus-client decides when it is first
imported (by Prefect, for one) whether a process counts into shared files, see `infra.settings.share_metrics`.
"""

from collections.abc import Coroutine, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from lineage.errors import RejectedError, SettingsError, UnavailableError

if TYPE_CHECKING:
    from infra.settings import Settings

Result = TypeVar("Result")


def start(**given: Any) -> "Settings":
    """Read the settings (`given` ones go first), let this process's metrics be counted, set up the logs."""
    from infra import logs
    from infra.local.services import endpoints
    from infra.settings import load, share_metrics

    settings = load(**given)
    share_metrics(settings)
    local = endpoints(settings.home).values()
    logs.configure(settings, known=[address["password"] for address in local if "password" in address])
    return settings


def start_prefect(**given: Any) -> "Settings":
    """The same for a command that uses Prefect: its server is the one of the settings, or the local one."""
    settings = start(**given)
    _hand_down(settings)
    return settings


def start_or_warn(**given: Any) -> "Settings":
    """The same for a command that looks at everything, also when there is no Prefect server to be found."""
    settings = start(**given)
    with suppress(UnavailableError):
        _hand_down(settings)
    return settings


def _hand_down(settings: "Settings") -> None:
    from infra.endpoints import resolve_prefect
    from infra.local.services import endpoints
    from infra.settings import hand_down

    prefect = resolve_prefect(settings, endpoints(settings.home))
    hand_down(settings, prefect.url, prefect.login)


def pairs(texts: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
    """`key=value` texts of an option as pairs; raises SettingsError for one that is none."""
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise SettingsError(f"{option} takes key=value, not {text!r}.")
        yield key, value


def moment(text: str | None, option: str) -> datetime | None:
    """The time an option names, UTC where it says no zone; raises RejectedError for one that is none."""
    if text is None:
        return None
    try:
        named = datetime.fromisoformat(text)
    except ValueError as error:
        raise RejectedError(f"{option} {text!r} is no time: write 2026-11-21T08:00, in UTC") from error
    return named if named.tzinfo else named.replace(tzinfo=UTC)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work to its end."""
    import asyncio

    return asyncio.run(work)
