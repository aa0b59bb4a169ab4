"""Every setting of Headwater, and the only place that reads the environment.

    HEADWATER_* ─load()─▶ Settings ─endpoints.resolve_…(…, local services)─▶ where everything is

A setting that is unset means the local service. `docs/settings.md` is this model as a table.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra import connection, private
from infra import settings_rules as rules
from infra.masking import MASK, mask
from lineage.errors import SettingsError

PREFIX = "HEADWATER_"
NOT_SETTINGS = frozenset({"HEADWATER_SHARED_DATA"})
"""Variables with our prefix that are no settings: where the tests find real data."""

CONNECTIONS = "connections"
"""The field that is read from as many variables as there are connections."""

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
MODULES = "PYTHONPATH"
"""Where modules of one's own are found: sources, streams, transforms."""
PREFECT_SECRETS = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
PREFECT_VARIABLES = (*PREFECT_SECRETS, "PREFECT_API_SSL_CERT_FILE", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY")
"""Prefect's own settings that our processes need too: who we are to its server, and whether to trust it."""

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Duration = Annotated[timedelta, BeforeValidator(rules.duration), Field(gt=timedelta(0))]


class Robot(BaseModel):
    """A robot whose HTTP interface is fetched when it says that a run changed.

    `notices` is its own broker, as an OT-2 has one; None: its notices come to the broker of the settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    url: str
    notices: str | None = None


class Settings(BaseSettings):
    """All settings; frozen. Make one with `load`, which refuses misspelt variables too."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    home: Path = Field(Path(".headwater"), description="Where local services, metrics and downloads live")

    postgres_dsn: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host:5432/database`; TLS by `sslmode`, `sslrootcert`, "
        "`sslcert` and `sslkey` in its query",
    )
    statement_timeout: Duration = Field(
        timedelta(seconds=60), description="Longest single statement in Postgres"
    )
    commit_timeout: Duration = Field(timedelta(minutes=5), description="Longest transaction of one batch")

    graph_uri: str | None = Field(
        None,
        description="`bolt://host:7687` or `neo4j://…`; with TLS `bolt+s://`, `neo4j+s://`, or `+ssc` for a "
        "self-signed certificate",
    )
    graph_user: str | None = Field(None, description="Its user")
    graph_password: SecretStr | None = Field(None, description="Its password")
    graph_database: str | None = Field(None, description="Its database; unset: the server's default")
    graph_ca: Path | None = Field(None, description="PEM file of the authority that signed its certificate")

    anchor_file: Path | None = Field(
        None,
        description="Where hashes of the record are kept outside Postgres, a line a minute at most; "
        "unset: `anchors.ndjson` in the home",
    )

    key_file: Path | None = Field(
        None,
        description="The keys that stored rows are digested with: the same on every host that commits or "
        "proves; unset: `digest.key` in the home, made where the store has none yet",
    )

    mqtt_url: SecretStr | None = Field(
        None, description="`mqtt://user:password@host:1883`, with TLS `mqtts://…:8883`"
    )
    mqtt_ca: Path | None = Field(
        None, description="PEM file of the authority that signed the broker's certificate"
    )
    mqtt_certificate: Path | None = Field(
        None, description="PEM file of our own certificate, when the broker asks"
    )
    mqtt_key: Path | None = Field(None, description="PEM file of its private key")
    kafka_url: SecretStr | None = Field(
        None, description="`kafka://user:password@host:9092,host:9092`, with TLS `kafkas://…`"
    )
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How user and password are sent to it"
    )
    kafka_ca: Path | None = Field(None, description="PEM file of the authority that signed its certificates")
    kafka_certificate: Path | None = Field(None, description="PEM file of our own, when it asks")
    kafka_key: Path | None = Field(None, description="PEM file of its private key")
    connections: dict[str, SecretStr] = Field(
        {},
        description="The URL of what pipelines call the connection `NAME`, in small letters and with `-` for "
        "`_`; a broker's is `mqtts://user:password@host:8883?ca=FILE&certificate=FILE&key=FILE`, "
        "`kafkas://user:password@host:9092,host:9092?mechanism=SCRAM-SHA-512&ca=FILE`",
    )
    client_id: str = Field(
        "headwater",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="MQTT and Kafka client id; a listener appends pipeline and slot: `headwater-sensors-0`",
    )
    slot: int = Field(
        0, ge=0, le=999, description="Slot of this listener: stable, one per running listener of a pipeline"
    )

    files: Path | None = Field(
        None, description="Directory of the folders that pipelines of files name; unset: `files` in the home"
    )

    pipelines: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(rules.directories)] = Field(
        (),
        description="Directories of pipeline folders of your own, with `:` between them; they join the "
        "shipped ones",
    )

    prefect_api_url: str | None = Field(
        None, description="`http(s)://host:4200/api`; an API key is Prefect's own `PREFECT_API_KEY`"
    )
    installation: str = Field(
        "headwater",
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Name of this installation: what it has on a Prefect server begins with it; stores that "
        "share a server need one each",
    )
    robots: Annotated[tuple[Robot, ...], NoDecode, BeforeValidator(rules.robots)] = Field(
        (),
        description="Robots to fetch runs from, comma-separated: `name=http://host:31950`, or "
        "`name=http://host:31950 mqtt://host:1883` for a robot with a broker of its own, as an OT-2 has",
    )
    openlineage_namespaces: Annotated[dict[str, str], NoDecode, BeforeValidator(rules.namespaces)] = Field(
        {},
        description="Where OpenLineage finds our stores, comma-separated: "
        "`postgres=postgres://host:5432/database,mqtt=mqtt://host:1883`; unset: where the settings say they "
        "are. `headwater=NAME` is the namespace of our jobs",
    )
    openlineage_api_key: SecretStr | None = Field(
        None, description="API key of the OpenLineage server that events are sent to"
    )

    fold_after: Duration = Field(
        timedelta(days=30), description="How old the graph's batches are when they become one node a day"
    )
    schedule_every: Duration | None = Field(
        None, description="Runs the hourly flows at this interval instead; for the demo"
    )

    metrics_host: str = Field("127.0.0.1", min_length=1, description="Where `/metrics` and `/health` listen")
    metrics_port: int = Field(9464, ge=0, le=65535, description="Their port; 0 is any free one")

    log_level: Annotated[LogLevel, BeforeValidator(rules.upper)] = Field(
        "INFO", description="Least level logged"
    )
    log_levels: Annotated[dict[str, LogLevel], NoDecode, BeforeValidator(rules.log_levels)] = Field(
        {}, description="Level per room or library: `infra=WARNING,tasks.load=DEBUG`"
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="`console` for people, `json` for machines"
    )
    log_file: Path | None = Field(None, description="Also log to this file; its directory must exist")

    @model_validator(mode="after")
    def _valid_together(self) -> Self:
        rules.check(self)
        return self

    @property
    def metrics_directory(self) -> Path:
        """Where every process leaves its metrics for the one that serves them."""
        return self.home / "metrics"

    @property
    def files_directory(self) -> Path:
        """Where the folders of pipelines of files are."""
        return (self.files or self.home / "files").absolute()

    @property
    def anchors(self) -> Path:
        """The file of the anchors."""
        return self.anchor_file or self.home / "anchors.ndjson"

    @property
    def digest_keys(self) -> Path:
        """The file of the keys of digests."""
        return self.key_file or self.home / "digest.key"

    def secrets(self) -> frozenset[str]:
        """The passwords themselves, for the log to hide wherever they turn up. Never print this."""
        given = (self.graph_password, self.openlineage_api_key)
        values = [secret.get_secret_value() for secret in given if secret]
        for url in (self.postgres_dsn, self.mqtt_url, self.kafka_url, *self.connections.values()):
            values.extend(rules.passwords_in(url.get_secret_value()) if url else ())
        for url in self.connections.values():
            values.extend(rules.secrets_in(connection.parts_of(url)))
        values.extend(os.environ.get(name, "") for name in PREFECT_SECRETS)
        return frozenset(filter(None, values))

    def environment(self) -> dict[str, str]:
        """These settings as variables, for a process of ours. It holds passwords: never print it."""
        given = {name: _absolute(value) for name, value in self._given().items()}
        ours = {name: _written(value) for name, value in given.items() if value is not None}
        return ours | {name: os.environ[name] for name in (*PREFECT_VARIABLES, MODULES) if name in os.environ}

    def masked(self) -> dict[str, str]:
        """Variable name → value as a person may see it, of every setting that is set."""
        return {name: shown(value) for name, value in self._given().items()}

    def _given(self) -> dict[str, Any]:
        """Variable name → value, of every setting that is set."""
        fields = [name for name in type(self).model_fields if name in self.model_fields_set - {CONNECTIONS}]
        named = {connection.variable(name): url for name, url in self.connections.items()}
        return {variable(name): getattr(self, name) for name in fields} | named


def load(**given: Any) -> Settings:
    """Read the settings from HEADWATER_* variables; `given` ones go before them.

    Raises SettingsError with every variable that is unknown, wrong or contradicts another one,
    and never with a secret's value.
    """
    _refuse_unknown(os.environ)
    try:
        named = connection.given(os.environ)
        return Settings(**({CONNECTIONS: named} if named else {}) | given)
    except ValidationError as error:
        sentence = "; ".join(_sentence(dict(problem)) for problem in error.errors(include_input=False))
    except ValueError as error:
        sentence = str(error)
    # Outside the handler, so that the error does not carry pydantic's, which holds what was typed.
    raise SettingsError(sentence)


def variable(field: str) -> str:
    """The environment variable of a field."""
    return connection.variable("name") if field == CONNECTIONS else PREFIX + field.upper()


def share_metrics(settings: Settings) -> Path:
    """Let this process and those it starts count into one directory; call it before anything else.

    prometheus-client reads its variable once, when it is first imported (by Prefect, for one), and decides
    then whether a process's numbers live in memory or in files. So an entry point calls this first and
    imports the rest afterwards; processes it starts inherit the variable. Raises SettingsError when it is
    too late. The directory belongs to one machine: processes are told apart by their ids.
    """
    directory = private.own(settings.metrics_directory.absolute())
    if "prometheus_client" not in sys.modules:
        os.environ[METRICS_VARIABLE] = str(directory)
        for left in directory.glob(f"gauge_live*_{os.getpid()}.db"):  # by an ended process that had our id
            left.unlink()
    elif os.environ.get(METRICS_VARIABLE) != str(directory):
        raise SettingsError(
            "prometheus_client was imported before the metrics directory was set: "
            "call share_metrics() first in the entry point"
        )
    return directory


def hand_down(settings: Settings, prefect_api_url: str, login: SecretStr | None = None) -> None:
    """Let Prefect, which is imported afterwards, and the processes we start find the same home and server.

    `login` is the local server's; for another one the environment holds it. Prefect keeps what it runs at a
    fixed place in the temporary directory, which then belongs to whichever user of the machine came first: so
    ours is below the home.
    """
    temporary = private.own(settings.home.absolute() / "tmp")
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    os.environ[variable("home")] = str(settings.home.absolute())
    os.environ[variable("pipelines")] = _written(_absolute(settings.pipelines))
    os.environ["PREFECT_API_URL"] = prefect_api_url
    if login is not None:
        os.environ["PREFECT_API_AUTH_STRING"] = login.get_secret_value()
    # Where Prefect writes why a flow run failed; its own default is below the user's home.
    os.environ["PREFECT_RESULTS_LOCAL_STORAGE_PATH"] = str(settings.home.absolute() / "results")


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = [variable(field) for field in Settings.model_fields]
    for name in sorted(environment):
        if not name.upper().startswith(PREFIX) or name.upper() in {*known, *NOT_SETTINGS}:
            continue
        if name.upper().startswith(connection.PREFIX):
            continue
        nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
        raise SettingsError(f"{name} is not a setting: did you mean {nearest}? Correct it or unset it.")


def _sentence(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return mask(message)
    field = str(problem["loc"][0])
    if message.startswith(PREFIX):
        return mask(message)
    return mask(f"{variable(field)} is not valid: {message[:1].lower()}{message[1:]}")


def shown(value: object) -> str:
    """A setting's value as a person may see it."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return mask(text) if "://" in text else MASK
    return _written(value)


def _absolute(value: Any) -> Any:
    """A path as every process finds it, wherever it was started."""
    if isinstance(value, Path):
        return value.absolute()
    return tuple(map(_absolute, value)) if isinstance(value, tuple) else value


def _written(value: object) -> str:
    """A setting's value as it would stand in a variable."""
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return ",".join(f"{name}={level}" for name, level in value.items())
    if isinstance(value, tuple) and isinstance(value[0], Path):
        return ":".join(map(str, value))
    if isinstance(value, tuple):
        return ",".join(f"{each.name}={each.url} {each.notices or ''}".strip() for each in value)
    if isinstance(value, timedelta):
        return rules.duration_text(value)
    return str(value)
