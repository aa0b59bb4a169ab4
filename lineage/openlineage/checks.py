"""What a field of the facet of entries must be: each check gives the value back, or raises RejectedError."""

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from .. import apart
from ..errors import RejectedError
from ..model import Fact
from .facets import ENTRIES

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WHOLE = 1 << 63

Kind = TypeVar("Kind", bound=StrEnum)


def wrong(what: str) -> RejectedError:
    """The sentence about a facet in which something is wrong."""
    return RejectedError(f"The event's facet {ENTRIES} is not as we write it: {what}.")


def an_object(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise wrong(f"{what} is not an object")
    return given


def with_fields(
    given: Any, what: str, names: Collection[str], may_lack: Collection[str] = ()
) -> Mapping[str, Any]:
    """An object that has these fields and no others."""
    found = an_object(given, what)
    if lacking := sorted(set(names) - set(may_lack) - found.keys()):
        raise wrong(f"{what} has no {lacking[0]}")
    if unknown := sorted(found.keys() - set(names)):
        raise wrong(f"{what} has a field {unknown[0][:80]!a} that is none of ours")
    return found


def a_list(given: Any, what: str) -> Sequence[Any]:
    if not isinstance(given, list):
        raise wrong(f"{what} is not a list")
    return given


def a_whole(given: Any, what: str) -> int:
    """An integer of 64 bits."""
    if not isinstance(given, int) or isinstance(given, bool) or not -_WHOLE <= given < _WHOLE:
        raise wrong(f"{what} is no whole number")
    return given


def a_text(given: Any, what: str) -> str:
    if not isinstance(given, str) or not given or not apart.is_stored(given):
        raise wrong(f"{what} is no text")
    return given


def an_id(given: Any, what: str) -> UUID:
    try:
        return UUID(a_text(given, what))
    except ValueError as error:
        raise wrong(f"{what} is not a UUID") from error


def one_of(kinds: type[Kind], given: Any, what: str) -> Kind:
    try:
        return kinds(given)
    except ValueError as error:
        raise wrong(f"{what} is none of {', '.join(kinds)}") from error


def facts(given: Any, what: str) -> dict[str, Fact]:
    """Facts as a graph can hold them."""
    for name, value in an_object(given, what).items():
        if not _NAME.fullmatch(name):
            raise wrong(f"{what}: no fact is called {name[:80]!a}")
        if isinstance(value, int) and not isinstance(value, bool):
            a_whole(value, f"{what}: {name}")
        elif not isinstance(value, bool | None) and not (isinstance(value, str) and apart.is_stored(value)):
            raise wrong(f"{what}: {name} is neither a text, a whole number, a truth value nor nothing")
    return dict(given)
