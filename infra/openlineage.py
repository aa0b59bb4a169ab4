"""OpenLineage's official client: checks events against the published schema, and sends them.

The only place that imports it. The client has the schema as classes; an event is made of them here, field by
field, so that one that does not fit is refused before anybody sees it.
"""

import enum
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import attr
import requests
from openlineage.client import facet_v2
from openlineage.client.event_v2 import RunEvent
from openlineage.client.generated.base import BaseFacet
from openlineage.client.serde import Serde
from openlineage.client.transport.http import HttpConfig, HttpTransport
from pydantic import SecretStr

from infra.masking import mask
from lineage.errors import RejectedError, SettingsError, UnavailableError

ENDPOINT = "api/v1/lineage"
"""Where a server takes events, below its URL."""


def checked(event: Mapping[str, Any]) -> RunEvent:
    """The event as the client's classes hold it; raises RejectedError where it is not of the schema."""
    try:
        made: RunEvent = _object(RunEvent, event)
    except (TypeError, ValueError) as error:
        raise RejectedError(f"The event is not of OpenLineage's schema: {error}.") from error
    return made


def written(event: RunEvent) -> Mapping[str, Any]:
    """The event as the client would send it."""
    return Serde.to_dict(event)


def sender(url: str, api_key: SecretStr | None = None) -> Callable[[RunEvent], None]:
    """Sends one event after another to a server.

    What it returns raises UnavailableError when the server is away or answers 429 or 5xx, RejectedError when
    it refuses the event.
    """
    if not url.startswith(("http://", "https://")):
        raise SettingsError("The URL to send events to must start with http:// or https://.")
    config: dict[str, Any] = {"url": url, "endpoint": ENDPOINT}
    if api_key is not None:
        config["auth"] = {"type": "api_key", "apiKey": api_key.get_secret_value()}
    transport = HttpTransport(HttpConfig.from_dict(config))
    service = f"OpenLineage's server at {mask(url)}"

    def send(event: RunEvent) -> None:
        try:
            transport.emit(event).raise_for_status()
        except requests.HTTPError as error:
            status = error.response.status_code
            if status == 429 or status >= 500:
                raise UnavailableError(service, f"it answered {status}") from error
            raise RejectedError(f"{service} answered {status} to an event.") from error
        except requests.RequestException as error:
            reason = f"it does not answer ({type(error).__name__})"
            raise UnavailableError(service, reason, "Start it, or correct --url.") from error

    return send


def _made(kind: Any, value: Any) -> Any:
    """A JSON value as a type of the client's; raises TypeError or ValueError where it does not fit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        wanted = [each for each in arguments if each is not type(None)]
        return None if value is None else _made(wanted[0], value)
    if origin is list:
        return [_made(arguments[0], each) for each in _of(list, value)]
    if origin is dict:
        of_facets = isinstance(arguments[1], type) and issubclass(arguments[1], BaseFacet)
        make = _facet if of_facets else lambda kind, _name, each: _made(kind, each)
        return {name: make(arguments[1], name, each) for name, each in _of(dict, value).items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if attr.has(kind):
        return _object(kind, value)
    return value if kind is Any else _of(kind, value)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value


def _object(kind: Any, value: Any) -> Any:
    """An object of a class; every key must be a field of it."""
    fields, hints = _shape(kind)
    if unknown := _of(dict, value).keys() - fields.keys():
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    made = {name: _made(hints[name], each) for name, each in value.items()}
    whole = kind(**{fields[name].alias: each for name, each in made.items() if fields[name].init})
    for name, each in made.items():
        if not fields[name].init:  # the schema's URL: a producer names the version it knows
            setattr(whole, name, each)
    return whole


@cache
def _shape(kind: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The fields of a class and their types, by name."""
    return {each.name: each for each in attr.fields(kind)}, get_type_hints(kind)


def _facet(holder: Any, name: str, value: Any) -> Any:
    """A facet; one the client does not know keeps all its fields beside those every facet has."""
    known = _facets().get(f"{name}{holder.__name__}".lower())
    if known is not None:
        return _object(known, value)
    base = {field: _of(str, _of(dict, value).get(field)) for field in ("_producer", "_schemaURL")}
    more = {field: each for field, each in value.items() if field not in base}
    made = holder(producer=base["_producer"]).with_additional_properties(**more)
    made._schemaURL = base["_schemaURL"]
    return made


@cache
def _facets() -> Mapping[str, Any]:
    """The client's facets by their class in lower case: the facet's name and what it is a facet of."""
    modules = [module for module in vars(facet_v2).values() if isinstance(module, types.ModuleType)]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return {each.__name__.lower(): each for each in found if issubclass(each, BaseFacet)}
