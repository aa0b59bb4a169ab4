"""Where each service is: what the settings say, otherwise the local service that `headwater up` started.

The address book of local services is `<home>/services.json`: name → {"url": …, "user": …, "password": …}.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr

from infra import connection
from infra import settings_rules as rules
from infra.kafka import KafkaAddress
from infra.mqtt.address import MqttEndpoint, Tls
from infra.settings import Settings, variable
from lineage.errors import SettingsError, UnavailableError

Addresses = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresEndpoint:
    dsn: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEndpoint:
    """`ca` comes only with a `+s` URI; the driver takes one or the other, see `driver_uri`."""

    uri: str
    user: str | None
    password: SecretStr | None
    database: str | None
    ca: Path | None

    @property
    def driver_uri(self) -> str:
        """The URI to pass beside `encrypted=True, trusted_certificates=…`, which refuse a `+s` scheme."""
        return self.uri.replace("+s://", "://", 1) if self.ca else self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectEndpoint:
    """`url` is the API's, ending in /api; `login` is the local server's `user:password`."""

    url: str
    login: SecretStr | None


def resolve_postgres(settings: Settings, addresses: Addresses) -> PostgresEndpoint:
    if settings.postgres_dsn:
        return PostgresEndpoint(dsn=settings.postgres_dsn)
    local = _local("postgres", "Postgres", "postgres_dsn", addresses)
    return PostgresEndpoint(dsn=SecretStr(_with_login(local)))


def resolve_graph(settings: Settings, addresses: Addresses) -> GraphEndpoint:
    if settings.graph_uri:
        return GraphEndpoint(
            uri=settings.graph_uri,
            user=settings.graph_user,
            password=settings.graph_password,
            database=settings.graph_database,
            ca=settings.graph_ca,
        )
    local = _local("graph", "graph", "graph_uri", addresses)
    password = local.get("password")
    return GraphEndpoint(
        uri=local["url"],
        user=local.get("user"),
        password=SecretStr(password) if password else None,
        database=local.get("database"),
        ca=None,
    )


def resolve_mqtt(settings: Settings, addresses: Addresses, named: str | None = None) -> MqttEndpoint:
    """The broker of the settings, or the one of a named connection."""
    if named:
        parts = _connection(settings, named, "mqtt")
        return MqttEndpoint(url=parts.url, tls=Tls(**_files(parts)))
    if settings.mqtt_url:
        url = settings.mqtt_url.get_secret_value()
    else:
        url = _with_login(_local("mqtt", "MQTT broker", "mqtt_url", addresses))
    tls = Tls(ca=settings.mqtt_ca, certificate=settings.mqtt_certificate, key=settings.mqtt_key)
    return MqttEndpoint(url=SecretStr(url), tls=tls)


def resolve_kafka(settings: Settings, addresses: Addresses, named: str | None = None) -> KafkaAddress:
    """The brokers of the settings, or those of a named connection."""
    if named:
        parts = _connection(settings, named, "kafka")
        mechanism = parts.query.get("mechanism", rules.MECHANISMS[0])
        return KafkaAddress(url=parts.url, mechanism=mechanism, **_files(parts))
    if settings.kafka_url is None:
        return KafkaAddress(url=SecretStr(_local("kafka", "Kafka", "kafka_url", addresses)["url"]))
    return KafkaAddress(
        url=settings.kafka_url,
        mechanism=settings.kafka_mechanism,
        ca=settings.kafka_ca,
        certificate=settings.kafka_certificate,
        key=settings.kafka_key,
    )


def resolve_connection(settings: Settings, named: str) -> SecretStr:
    """The URL of a named connection; raises UnavailableError where it is not set."""
    if named in settings.connections:
        return settings.connections[named]
    nearest = get_close_matches(named, settings.connections, n=1)
    hint = f"Set it, or did you mean {nearest[0]}?" if nearest else "Set it to the URL."
    raise UnavailableError(f"the connection {named}", f"{connection.variable(named)} is not set", hint)


def resolve_prefect(settings: Settings, addresses: Addresses) -> PrefectEndpoint:
    if settings.prefect_api_url:
        return PrefectEndpoint(url=settings.prefect_api_url, login=None)
    local = _local("prefect", "Prefect server", "prefect_api_url", addresses)
    login = f"{local['user']}:{local['password']}" if "password" in local else None
    return PrefectEndpoint(url=local["url"], login=SecretStr(login) if login else None)


def _connection(settings: Settings, named: str, kind: str) -> connection.Parts:
    """What is said of a connection; raises UnavailableError for nothing, SettingsError for another kind."""
    parts, own = connection.parts_of(resolve_connection(settings, named)), connection.variable(named)
    if parts.kind != kind:
        raise SettingsError(
            f"{own} is {parts.kind}, and a source of {kind} names it: correct one of the two."
        )
    return parts


def _files(parts: connection.Parts) -> dict[str, Path]:
    return {name: Path(parts.query[name]) for name in connection.FILES if name in parts.query}


def _local(name: str, title: str, field: str, addresses: Addresses) -> Mapping[str, str]:
    local = addresses.get(name)
    if local and local.get("url"):
        return local
    start = "headwater up --kafka" if name == "kafka" else "headwater up"
    hint = f"Run `{start}`, or set {variable(field)}."
    raise UnavailableError(title, "no address is set and no local one is running", hint)


def _with_login(local: Mapping[str, str]) -> str:
    """The service's URL with its user and password in it, where it does not hold them already."""
    parts = urlsplit(local["url"])
    if "@" in parts.netloc or not local.get("user"):
        return local["url"]
    login = quote(local["user"], safe="")
    if local.get("password"):
        login += ":" + quote(local["password"], safe="")
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))
