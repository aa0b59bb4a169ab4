"""Named connections: any number of brokers and other services, each by a name that pipelines say.

    source: {type: mqtt, connection: plant-2, topic: …}
    HEADWATER_CONNECTION_PLANT_2=mqtts://user:password@host:8883?ca=/etc/plant-2.pem

What a connection needs besides its URL stands in the URL's query.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import Field, SecretStr

PREFIX: Final = "HEADWATER_CONNECTION_"
NAME: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
FILES: Final = ("ca", "certificate", "key")
"""PEM files for TLS: who signed the other's certificate, and our own with its key if it asks."""
QUERY: Final[Mapping[str, tuple[str, ...]]] = {"mqtt": FILES, "kafka": (*FILES, "mechanism")}
"""What may stand in the query of a connection's URL, by the kind of its service; mqtts is mqtt with TLS."""

ConnectionName = Annotated[
    str,
    Field(
        pattern=NAME,
        max_length=40,
        description="Unset: the one of the settings; plant-2: the one in HEADWATER_CONNECTION_PLANT_2",
    ),
]


def variable(name: str) -> str:
    """The environment variable of a connection."""
    return PREFIX + name.upper().replace("-", "_")


def given(environment: Mapping[str, str]) -> dict[str, SecretStr]:
    """The connections that are set, by their names; raises ValueError where a name is none."""
    found = {}
    for key, url in sorted(environment.items()):
        if not key.upper().startswith(PREFIX) or not url:
            continue
        name = key.upper().removeprefix(PREFIX).lower().replace("_", "-")
        if not re.match(NAME, name):
            raise ValueError(f"{key} names no connection: write {PREFIX} and letters, digits and single _")
        found[name] = SecretStr(url)
    return found


@dataclass(frozen=True, slots=True)
class Parts:
    """A connection's URL without its query, and the query; `kind`: of its service."""

    kind: str
    encrypted: bool
    url: SecretStr
    query: Mapping[str, str]


def parts_of(url: SecretStr) -> Parts:
    """What a connection's URL says; raises ValueError where that is no URL."""
    try:
        parts = urlsplit(url.get_secret_value())
    except ValueError:
        raise ValueError("a connection is no URL") from None  # its own words hold what was typed
    kind = parts.scheme.removesuffix("s")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Parts(kind, parts.scheme != kind, SecretStr(urlunsplit(parts._replace(query=""))), query)
