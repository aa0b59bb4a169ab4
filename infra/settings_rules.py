"""What a setting may look like, and which settings contradict each other.

Every check raises ValueError with one sentence that names the variables and never holds a value that
could be a secret. `check` runs them all over a whole `Settings`.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from infra import connection

if TYPE_CHECKING:
    from infra.settings import Settings

LOGGERS = (
    *("flows", "tasks", "lineage", "infra", "console"),  # ours
    *(
        "prefect",
        "neo4j",
        "asyncpg",
        "paho",
        "confluent_kafka",
        "httpx",
        "httpcore",
        "uvicorn",
        "fastapi",
        "sqlalchemy",
        "asyncio",
    ),
)
STORES = ("headwater", "postgres", "mqtt", "opentrons", "file")
"""What may have a namespace of OpenLineage's: the first words of our datasets' names, and ourselves."""
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
"""How user and password are sent to Kafka; the first one unless another is said."""
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
GRAPH_SCHEMES = ("bolt", "neo4j", "bolt+s", "neo4j+s", "bolt+ssc", "neo4j+ssc")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?\s*$")


def duration(value: object) -> object:
    """`500ms`, `30s`, `5m`, `1h`, `2d`, or bare seconds."""
    if not isinstance(value, str):
        return value
    found = _DURATION.match(value)
    if not found:
        raise ValueError("write a duration as 500ms, 30s, 5m, 1h or 2d")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])


def duration_text(value: timedelta) -> str:
    """A duration as `duration` reads it, in the largest unit that divides it."""
    for name in ("d", "h", "m", "s", "ms"):
        unit = timedelta(seconds=_UNITS[name])
        if not value % unit:
            return f"{value // unit}{name}"
    return f"{value.total_seconds():f}s"


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def directories(value: object) -> object:
    """`dir:dir` as paths."""
    return tuple(Path(part) for part in value.split(":") if part) if isinstance(value, str) else value


def robots(value: object) -> object:
    """`name=url,name=url broker` as the fields of robots."""
    if not isinstance(value, str):
        return value
    found = dict(_pairs(value, "name=http://host:31950"))
    parts = {name: rest.split() for name, rest in found.items()}
    if any(len(urls) > 2 for urls in parts.values()):
        raise ValueError("an entry holds more than two URLs: name=http://host:31950 mqtt://host:1883")
    return tuple({"name": name, "url": urls[0], "notices": (*urls, None)[1]} for name, urls in parts.items())


def namespaces(value: object) -> object:
    """`postgres=postgres://host:5432/database,headwater=lab` as a mapping; a URL takes no user."""
    found = dict(_pairs(value, "postgres=postgres://host:5432/database")) if isinstance(value, str) else value
    if not isinstance(found, dict):
        return found
    for store, place in found.items():
        if store.partition("+")[0] not in STORES:
            raise ValueError(f"{store} is none of {', '.join(STORES)}, or of them with +CONNECTION")
        if store == "headwater":
            continue
        parts = split(str(place), "an entry")
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"{store} must be a URL with a host, without user and password")
    if "postgres" in found and not split(found["postgres"], "an entry").path.strip("/"):
        raise ValueError("postgres must name its database: postgres://host:5432/database")
    return found


def log_levels(value: object) -> object:
    """`infra=WARNING,tasks.load=DEBUG` as a mapping; the first part of each name must be known."""
    levels = dict(_pairs(value, "infra=WARNING")) if isinstance(value, str) else value
    if not isinstance(levels, dict):
        return levels
    for name in levels:
        room = name.partition(".")[0]
        if room not in LOGGERS:
            nearest = get_close_matches(room, LOGGERS, n=1, cutoff=0.0)[0]
            raise ValueError(f"{name} is neither a room nor a library that logs: did you mean {nearest}?")
    return {name: upper(level) for name, level in levels.items()}


def _pairs(value: str, example: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for number, part in enumerate(filter(None, (part.strip() for part in value.split(","))), start=1):
        name, equals, rest = part.partition("=")
        # The part itself may hold a password, so only its place is named.
        if not (name.strip() and equals and rest.strip()):
            raise ValueError(f"entry {number} must look like {example}")
        if name.strip() in seen:
            raise ValueError(f"entry {number} repeats a name")
        seen.add(name.strip())
        yield name.strip(), rest.strip()


def passwords_in(url: str) -> Iterator[str]:
    """The passwords a URL holds, as written and as meant."""
    parts = split(url, "")
    written = [parts.password] if parts.password else []
    for name, values in parse_qs(parts.query).items():
        written.extend(values if name in ("password", "sslpassword") else ())
    for password in written:
        yield password
        yield unquote(password)


def secrets_in(parts: connection.Parts) -> Iterator[str]:
    """Of a service that is no broker: what may be a token, in its query or as a user without a password."""
    if parts.kind in connection.QUERY:
        return
    yield from parts.query.values()
    url = split(parts.url.get_secret_value(), "")
    if url.username and not url.password:
        yield url.username


def split(url: str, name: str) -> SplitResult:
    """A URL's parts; the error of a broken one names the variable, never the URL."""
    try:
        parts = urlsplit(url)
        if "," not in parts.netloc:  # several hosts, each with a port of its own, are Postgres' own form
            _ = parts.port
    except ValueError:
        raise ValueError(f"{name} is not a URL: encode special characters of its password as %XX") from None
    return parts


def check(settings: "Settings") -> None:
    """Raise ValueError at the first rule that is broken."""
    for rule in _RULES:
        rule(settings)


def _postgres(settings: "Settings") -> None:
    if settings.postgres_dsn is None:
        return
    name = "HEADWATER_POSTGRES_DSN"
    parts = split(settings.postgres_dsn.get_secret_value(), name)
    _need(parts.scheme in ("postgresql", "postgres"), f"{name} must begin with postgresql://")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    _need(bool(parts.hostname or "host" in query), f"{name} names no host")
    mode = query.get("sslmode", "prefer")
    _need(mode in SSL_MODES, f"the sslmode in {name} must be one of {', '.join(SSL_MODES)}")
    for part in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if part in query:
            _need(mode != "disable", f"{name} holds {part} and sslmode=disable: remove one of them")
            _file(f"{part} in {name}", Path(query[part]))
    _both(f"sslcert in {name}", query.get("sslcert"), f"sslkey in {name}", query.get("sslkey"))


def _graph(settings: "Settings") -> None:
    uri, user, password = settings.graph_uri, settings.graph_user, settings.graph_password
    _both("HEADWATER_GRAPH_USER", user, "HEADWATER_GRAPH_PASSWORD", password)
    for name in ("user", "database", "ca"):
        if getattr(settings, f"graph_{name}") is not None:
            _need(uri is not None, f"HEADWATER_GRAPH_{name.upper()} is set and HEADWATER_GRAPH_URI is not")
    if uri is None:
        return
    parts = split(uri, "HEADWATER_GRAPH_URI")
    _need(
        parts.scheme in GRAPH_SCHEMES,
        f"HEADWATER_GRAPH_URI must begin with one of {', '.join(GRAPH_SCHEMES)}",
    )
    _need("@" not in parts.netloc, "HEADWATER_GRAPH_URI holds a user: use HEADWATER_GRAPH_USER and _PASSWORD")
    _need(bool(parts.hostname), "HEADWATER_GRAPH_URI names no host")
    if settings.graph_ca is not None:
        why = "trusts any certificate" if parts.scheme.endswith("+ssc") else "is not encrypted"
        secure = parts.scheme.endswith("+s")
        _need(secure, f"HEADWATER_GRAPH_CA is set and HEADWATER_GRAPH_URI {why}: use a scheme with +s")
        _file("HEADWATER_GRAPH_CA", settings.graph_ca)


def _mqtt(settings: "Settings") -> None:
    _both("HEADWATER_MQTT_CERTIFICATE", settings.mqtt_certificate, "HEADWATER_MQTT_KEY", settings.mqtt_key)
    files = ("ca", "certificate", "key")
    given = {f"HEADWATER_MQTT_{name.upper()}": getattr(settings, f"mqtt_{name}") for name in files}
    given = {name: path for name, path in given.items() if path is not None}
    for name, path in given.items():
        _need(settings.mqtt_url is not None, f"{name} is set and HEADWATER_MQTT_URL is not")
        _file(name, path)
    if settings.mqtt_url is None:
        return
    parts = split(settings.mqtt_url.get_secret_value(), "HEADWATER_MQTT_URL")
    _need(parts.scheme in ("mqtt", "mqtts"), "HEADWATER_MQTT_URL must begin with mqtt:// or mqtts://")
    _need(bool(parts.hostname), "HEADWATER_MQTT_URL names no host")
    _need(parts.path in ("", "/") and not parts.query, "HEADWATER_MQTT_URL takes no path and no query")
    _need(not (parts.password and not parts.username), "HEADWATER_MQTT_URL holds a password and no user")
    for name in given:
        _need(parts.scheme == "mqtts", f"{name} is set and HEADWATER_MQTT_URL is not encrypted: use mqtts://")


def _kafka(settings: "Settings") -> None:
    certificate, key = settings.kafka_certificate, settings.kafka_key
    _both("HEADWATER_KAFKA_CERTIFICATE", certificate, "HEADWATER_KAFKA_KEY", key)
    given = {"HEADWATER_KAFKA_CA": settings.kafka_ca, "HEADWATER_KAFKA_CERTIFICATE": certificate}
    for name, path in (given | {"HEADWATER_KAFKA_KEY": key}).items():
        if path is not None:
            _need(settings.kafka_url is not None, f"{name} is set and HEADWATER_KAFKA_URL is not")
            _file(name, path)
    if settings.kafka_url is None:
        return
    parts = split(settings.kafka_url.get_secret_value(), "HEADWATER_KAFKA_URL")
    _need(parts.scheme in ("kafka", "kafkas"), "HEADWATER_KAFKA_URL must begin with kafka:// or kafkas://")
    login, _, servers = parts.netloc.rpartition("@")
    _need(bool(servers), "HEADWATER_KAFKA_URL names no host")
    _need(not login or ":" in login, "HEADWATER_KAFKA_URL holds a user and no password")
    _need(parts.path in ("", "/") and not parts.query, "HEADWATER_KAFKA_URL takes no path and no query")
    encrypted = parts.scheme == "kafkas" or not any((certificate, key, settings.kafka_ca))
    _need(encrypted, "HEADWATER_KAFKA_CA is set and HEADWATER_KAFKA_URL is not encrypted: use kafkas://")


def _connections(settings: "Settings") -> None:
    for named, url in settings.connections.items():
        name = connection.variable(named)
        parts = split(url.get_secret_value(), name)
        _need(bool(parts.scheme), f"{name} is no URL: begin it with mqtt://, kafka:// or another scheme")
        if connection.parts_of(url).kind in connection.QUERY:
            _of_broker(name, connection.parts_of(url))


def _of_broker(name: str, parts: connection.Parts) -> None:
    """A connection to a broker; of other services their sources know more."""
    url = split(parts.url.get_secret_value(), name)
    _need(url.path in ("", "/") and not url.fragment, f"{name} takes no path: end it after the port")
    login, _, servers = url.netloc.rpartition("@")
    _need(bool(servers), f"{name} names no host")
    _need(not login or ":" in login, f"{name} holds a user and no password")
    known = connection.QUERY[parts.kind]
    for key, value in parts.query.items():
        _need(key in known, f"{name} has {key} in its query, which takes {', '.join(known)}")
        if key in connection.FILES:
            _need(parts.encrypted, f"{name} names a {key} and is not encrypted: use {parts.kind}s://")
            _file(f"{key} in {name}", Path(value))
    mechanism = parts.query.get("mechanism", MECHANISMS[0])
    _need(mechanism in MECHANISMS, f"the mechanism in {name} must be one of {', '.join(MECHANISMS)}")
    query = parts.query
    _both(f"certificate in {name}", query.get("certificate"), f"key in {name}", query.get("key"))


def _web(settings: "Settings") -> None:
    urls = [("HEADWATER_PREFECT_API_URL", settings.prefect_api_url)]
    urls += [(f"{robot.name} in HEADWATER_ROBOTS", robot.url) for robot in settings.robots]
    for robot in settings.robots:
        if robot.notices is not None:
            parts = split(robot.notices, f"{robot.name} in HEADWATER_ROBOTS")
            broker = parts.scheme == "mqtt" and bool(parts.hostname)
            _need(broker, f"{robot.name} in HEADWATER_ROBOTS: its second URL must be mqtt://host:1883")
            _need("@" not in parts.netloc, f"{robot.name} in HEADWATER_ROBOTS holds a user or a password")
    for name, url in urls:
        if url is None:
            continue
        parts = split(url, name)
        _need(parts.scheme in ("http", "https") and bool(parts.hostname), f"{name} must be an http(s):// URL")
        _need("@" not in parts.netloc, f"{name} holds a user or a password: it takes none")


def _times(settings: "Settings") -> None:
    _need(
        settings.statement_timeout <= settings.commit_timeout,
        "HEADWATER_STATEMENT_TIMEOUT is longer than HEADWATER_COMMIT_TIMEOUT, which ends it first",
    )


def _log(settings: "Settings") -> None:
    path = settings.log_file
    if path is None:
        return
    _need(not path.is_dir(), "HEADWATER_LOG_FILE is a directory: name a file in it")
    _need(path.parent.is_dir(), "HEADWATER_LOG_FILE is in a directory that does not exist: create it first")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _both(first: str, one: object, second: str, other: object) -> None:
    _need(one is None or other is not None, f"{first} is set and {second} is not: set both or neither")
    _need(other is None or one is not None, f"{second} is set and {first} is not: set both or neither")


def _file(name: str, path: Path) -> None:
    _need(path.is_file(), f"{name} names a file that does not exist")


_RULES: tuple[Callable[["Settings"], None], ...] = (
    *(_postgres, _graph, _mqtt, _kafka, _connections),
    *(_web, _times, _log),
)
