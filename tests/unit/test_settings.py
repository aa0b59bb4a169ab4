"""The settings: what is refused, in which words, and that no secret gets out."""

import os
import re
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra import settings_doc
from infra.endpoints import resolve_graph, resolve_kafka, resolve_mqtt, resolve_postgres, resolve_prefect
from infra.settings import Settings, load, variable
from lineage.errors import SettingsError, UnavailableError

SECRET = "s3cr3t-hunter2"
DSN = f"postgresql://ann:{SECRET}@db.example:5432/lab"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HEADWATER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_text("a certificate")
    return str(path)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """What `load` says of these variables (named without their prefix)."""
    for name, value in variables.items():
        monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_nothing_set_is_valid_and_means_local() -> None:
    settings = load()
    assert settings.postgres_dsn is None
    assert settings.home == Path(".headwater")
    assert settings.metrics_host == "127.0.0.1"


def test_everything_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
    values = {
        "POSTGRES_DSN": f"{DSN}?sslmode=verify-full&sslrootcert={pem}",
        "GRAPH_URI": "neo4j+s://graph.example",
        "GRAPH_USER": "neo4j",
        "GRAPH_PASSWORD": SECRET,
        "GRAPH_CA": pem,
        "MQTT_URL": f"mqtts://ann:{SECRET}@broker.example",
        "MQTT_CA": pem,
        "ROBOTS": "left=http://10.0.0.5:31950, right=https://right.example",
        "LOG_LEVELS": "infra=warning, tasks.load=DEBUG",
        "SCHEDULE_EVERY": "5s",
        "COMMIT_TIMEOUT": "90",
        "SLOT": "3",
        "METRICS_PORT": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(variable(name), value)
    settings = load(statement_timeout=timedelta(seconds=7))
    assert [(robot.name, robot.url) for robot in settings.robots] == [
        ("left", "http://10.0.0.5:31950"),
        ("right", "https://right.example"),
    ]
    assert settings.log_levels == {"infra": "WARNING", "tasks.load": "DEBUG"}
    assert settings.schedule_every == timedelta(seconds=5)
    assert settings.commit_timeout == timedelta(seconds=90)
    assert settings.statement_timeout == timedelta(seconds=7)
    assert settings.slot == 3
    assert settings.metrics_port == 9464
    assert settings.secrets() == {SECRET}


@pytest.mark.parametrize(
    ("typed", "written"),
    [("2592000", "30d"), ("90m", "90m"), ("3600s", "1h"), ("0.5", "500ms"), ("0.05ms", "0.000050s")],
)
def test_a_duration_is_written_as_it_may_be_typed(
    monkeypatch: pytest.MonkeyPatch, typed: str, written: str
) -> None:
    monkeypatch.setenv("HEADWATER_FOLD_AFTER", typed)
    settings = load()
    assert settings.masked()["HEADWATER_FOLD_AFTER"] == written
    monkeypatch.setenv("HEADWATER_FOLD_AFTER", written)
    assert load().fold_after == settings.fold_after


def test_our_processes_are_to_prefects_server_who_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", SECRET)
    monkeypatch.setenv("PREFECT_API_SSL_CERT_FILE", "ca.pem")
    monkeypatch.setenv("PREFECT_HOME", "elsewhere")
    settings = load()
    found = {name: value for name, value in settings.environment().items() if name.startswith("PREFECT_")}
    assert found == {"PREFECT_API_KEY": SECRET, "PREFECT_API_SSL_CERT_FILE": "ca.pem"}
    assert SECRET in settings.secrets()


def test_connections_are_read_by_their_names_and_handed_on(monkeypatch: pytest.MonkeyPatch, pem: str) -> None:
    monkeypatch.setenv("HEADWATER_CONNECTION_PLANT_2", f"mqtts://ann:{SECRET}@h:1?ca={pem}")
    monkeypatch.setenv("HEADWATER_CONNECTION_WEST", f"kafka://ann:{SECRET}@h:1,i:2?mechanism=PLAIN")
    monkeypatch.setenv("HEADWATER_CONNECTION_EMPTY", "")
    settings = load()
    assert sorted(settings.connections) == ["plant-2", "west"]
    broker = resolve_mqtt(settings, {}, "plant-2")
    assert broker.url.get_secret_value() == f"mqtts://ann:{SECRET}@h:1"
    assert broker.tls.ca == Path(pem)
    brokers = resolve_kafka(settings, {}, "west")
    assert brokers.configuration()["bootstrap.servers"] == "h:1,i:2"
    assert brokers.mechanism == "PLAIN"
    assert SECRET in settings.secrets()
    assert SECRET not in " ".join(settings.masked().values())
    handed = {name: value for name, value in settings.environment().items() if "CONNECTION" in name}
    for name, value in handed.items():
        monkeypatch.setenv(name, value)
    assert load().connections == settings.connections
    with pytest.raises(UnavailableError, match=r"HEADWATER_CONNECTION_PLANT_3 is not set\. .*plant-2"):
        resolve_mqtt(settings, {}, "plant-3")
    with pytest.raises(
        SettingsError, match="HEADWATER_CONNECTION_WEST is kafka, and a source of mqtt names it"
    ):
        resolve_mqtt(settings, {}, "west")


@pytest.mark.parametrize(
    "url", [f"https://{SECRET}@h", f"https://h/v2?token={SECRET}", f"sql://a:{SECRET}@h"]
)
def test_what_may_be_a_token_of_a_connection_is_a_secret(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HEADWATER_CONNECTION_SHOP", url)
    assert SECRET in load().secrets()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().slot = 4


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("HEADWATER_POSTGRES_DNS", "HEADWATER_POSTGRES_DSN"),
        ("HEADWATER_GRAPH_URL", "HEADWATER_GRAPH_URI"),
        ("HEADWATER_CONNECTIONS", "HEADWATER_CONNECTION_NAME"),
        ("headwater_loglevel", "HEADWATER_LOG_LEVEL"),
    ],
)
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, nearest: str) -> None:
    monkeypatch.setenv(given, SECRET)
    with pytest.raises(SettingsError, match=f"{given} is not a setting: did you mean {nearest}") as caught:
        load()
    assert SECRET not in str(caught.value)


def test_the_tests_own_variable_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_SHARED_DATA", "somewhere")
    assert load()


def contradictions() -> Iterator[tuple[dict[str, str], tuple[str, str]]]:
    """Variables (PEM stands for a file that exists) and the two names their refusal must hold."""
    yield {"graph_uri": "bolt://h", "graph_ca": "PEM"}, ("GRAPH_CA", "GRAPH_URI")
    yield {"graph_uri": "neo4j+ssc://h", "graph_ca": "PEM"}, ("GRAPH_CA", "GRAPH_URI")
    yield {"graph_uri": "bolt://h", "graph_password": SECRET}, ("GRAPH_PASSWORD", "GRAPH_USER")
    yield {"graph_uri": "bolt://h", "graph_user": "neo4j"}, ("GRAPH_USER", "GRAPH_PASSWORD")
    yield {"graph_user": "neo4j", "graph_password": SECRET}, ("GRAPH_USER", "GRAPH_URI")
    yield {"graph_uri": f"bolt://neo4j:{SECRET}@h"}, ("GRAPH_URI", "GRAPH_USER")
    yield {"mqtt_url": f"mqtt://a:{SECRET}@h", "mqtt_ca": "PEM"}, ("MQTT_CA", "MQTT_URL")
    yield {"mqtt_ca": "PEM"}, ("MQTT_CA", "MQTT_URL")
    yield {"mqtt_url": "mqtts://h", "mqtt_certificate": "PEM"}, ("MQTT_CERTIFICATE", "MQTT_KEY")
    yield {"mqtt_url": "mqtts://h", "mqtt_key": "PEM"}, ("MQTT_KEY", "MQTT_CERTIFICATE")
    yield {"postgres_dsn": f"{DSN}?sslmode=disable&sslrootcert=PEM"}, ("sslrootcert", "sslmode=disable")
    yield {"postgres_dsn": f"{DSN}?sslcert=PEM"}, ("sslcert", "sslkey")
    yield {"connection_a": f"mqtt://a:{SECRET}@h?ca=PEM"}, ("CONNECTION_A names a ca", "mqtts://")
    yield {"connection_a": "kafkas://h?key=PEM"}, ("key in HEADWATER_CONNECTION_A", "certificate in")
    yield {"statement_timeout": "2m", "commit_timeout": "1m"}, ("STATEMENT_TIMEOUT", "COMMIT_TIMEOUT")


@pytest.mark.parametrize(("variables", "names"), list(contradictions()))
def test_contradictions_name_both(
    monkeypatch: pytest.MonkeyPatch, pem: str, variables: dict[str, str], names: tuple[str, str]
) -> None:
    said = refusal(monkeypatch, **{name: value.replace("PEM", pem) for name, value in variables.items()})
    assert all(name in said for name in names), said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"postgres_dsn": f"mysql://ann:{SECRET}@db/lab"},
            "HEADWATER_POSTGRES_DSN must begin with postgresql://",
        ),
        ({"connection_a": SECRET}, "HEADWATER_CONNECTION_A is no URL"),
        ({"connection_a": f"mqtt://a:{SECRET}@h/x"}, "HEADWATER_CONNECTION_A takes no path"),
        ({"connection_a": f"mqtt://{SECRET}@h"}, "HEADWATER_CONNECTION_A holds a user and no password"),
        ({"connection_a": "mqtt://"}, "HEADWATER_CONNECTION_A names no host"),
        ({"connection_a": f"mqtt://a:{SECRET}#@h"}, "HEADWATER_CONNECTION_A is not a URL"),
        ({"connection_a": "mqtts://h?cafile=x"}, "HEADWATER_CONNECTION_A has cafile in its query"),
        ({"connection_a": "mqtts://h?ca=/not/there"}, "names a file that does not exist"),
        ({"connection_a": "kafka://h?mechanism=GSSAPI"}, "must be one of SCRAM-SHA-512"),
        ({"connection_a__b": "kafka://h"}, "HEADWATER_CONNECTION_A__B names no connection"),
        ({"connection_": "kafka://h"}, "HEADWATER_CONNECTION_ names no connection"),
        ({"postgres_dsn": f"postgresql://ann:{SECRET}@db:port/lab"}, "HEADWATER_POSTGRES_DSN is not a URL"),
        ({"postgres_dsn": f"postgresql://ann:{SECRET}#@db/lab"}, "HEADWATER_POSTGRES_DSN is not a URL"),
        ({"postgres_dsn": f"postgresql://ann:{SECRET}[@db/lab"}, "HEADWATER_POSTGRES_DSN is not a URL"),
        ({"postgres_dsn": f"{DSN}?sslmode=yes"}, "sslmode in HEADWATER_POSTGRES_DSN must be one of"),
        ({"postgres_dsn": f"{DSN}?sslrootcert=/none.pem"}, "names a file that does not exist"),
        ({"mqtt_url": f"http://a:{SECRET}@h"}, "HEADWATER_MQTT_URL must begin with mqtt://"),
        ({"mqtt_url": f"mqtt://:{SECRET}@h"}, "HEADWATER_MQTT_URL holds a password and no user"),
        ({"graph_uri": "http://h"}, "HEADWATER_GRAPH_URI must begin with one of bolt"),
        ({"robots": f"left=http://a:{SECRET}@h"}, "left in HEADWATER_ROBOTS holds a user or a password"),
        ({"robots": f"http://a:{SECRET}@h"}, "HEADWATER_ROBOTS is not valid: entry 1 must look like"),
        ({"robots": "left=http://a http://b"}, "left in HEADWATER_ROBOTS: its second URL must be mqtt://"),
        ({"robots": f"left=http://a mqtt://u:{SECRET}@b"}, "left in HEADWATER_ROBOTS holds a user or a pas"),
        ({"robots": "left=http://a mqtt://b mqtt://c"}, "an entry holds more than two URLs"),
        ({"prefect_api_url": f"http://a:{SECRET}@h/api"}, "HEADWATER_PREFECT_API_URL holds a user"),
        ({"metrics_port": "99999"}, "HEADWATER_METRICS_PORT is not valid: input should be less than"),
        ({"metrics_port": SECRET}, "HEADWATER_METRICS_PORT is not valid"),
        ({"log_level": "LOUD"}, "HEADWATER_LOG_LEVEL is not valid"),
        (
            {"log_levels": "infar=INFO"},
            "infar is neither a room nor a library that logs: did you mean infra?",
        ),
        ({"log_levels": "infra=LOUD"}, "HEADWATER_LOG_LEVELS is not valid"),
        ({"log_file": "/nowhere/at/all.log"}, "HEADWATER_LOG_FILE is in a directory that does not exist"),
        ({"schedule_every": "often"}, "HEADWATER_SCHEDULE_EVERY is not valid: write a duration as"),
        ({"schedule_every": "0s"}, "HEADWATER_SCHEDULE_EVERY is not valid"),
    ],
)
def test_a_bad_value_is_one_sentence_without_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    said = refusal(monkeypatch, **variables)
    assert says in said
    assert SECRET not in said
    assert "\n" not in said


def test_two_bad_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, metrics_port="x", log_level="y")
    assert "HEADWATER_METRICS_PORT" in said
    assert "HEADWATER_LOG_LEVEL" in said


def test_a_bad_dsn_is_not_in_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_POSTGRES_DSN", f"mysql://ann:{SECRET}@db/lab")
    with pytest.raises(SettingsError) as caught:
        load()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ValidationError) as raw:
        Settings()
    assert SECRET not in str(raw.value)


def test_secrets_are_in_no_representation() -> None:
    settings = load(
        postgres_dsn=f"{DSN}?password={SECRET}",
        graph_uri="bolt://h",
        graph_user="neo4j",
        graph_password=SECRET,
        mqtt_url=f"mqtt://ann:{SECRET}@h",
    )
    masked = settings.masked()
    assert "HEADWATER_METRICS_PORT" not in masked, "it is not set"
    for text in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        str(masked),
    ):
        assert SECRET not in text
    assert masked["HEADWATER_POSTGRES_DSN"] == "postgresql://ann:***@db.example:5432/lab?password=***"
    assert masked["HEADWATER_GRAPH_PASSWORD"] == "***"
    assert load(commit_timeout="5m").masked() == {"HEADWATER_COMMIT_TIMEOUT": "5m"}


LOCAL = {
    "postgres": {"url": "postgresql://127.0.0.1:5555/headwater", "user": "me", "password": "a/b"},
    "graph": {"url": "bolt://127.0.0.1:7777", "user": "root", "password": SECRET, "database": "lineage"},
    "mqtt": {"url": "mqtt://127.0.0.1:1888"},
    "prefect": {"url": "http://127.0.0.1:4300/api"},
}


def test_unset_means_the_local_service() -> None:
    settings = load()
    dsn = resolve_postgres(settings, LOCAL).dsn.get_secret_value()
    assert dsn == "postgresql://me:a%2Fb@127.0.0.1:5555/headwater"
    graph = resolve_graph(settings, LOCAL)
    assert (graph.uri, graph.database) == ("bolt://127.0.0.1:7777", "lineage")
    assert resolve_mqtt(settings, LOCAL).url.get_secret_value() == "mqtt://127.0.0.1:1888"
    assert resolve_prefect(settings, LOCAL).url == "http://127.0.0.1:4300/api"
    assert SECRET not in repr(graph)


def test_a_robot_may_have_a_broker_of_its_own() -> None:
    settings = load(robots="left=http://a:31950 mqtt://a:1883, right=http://b:31950")
    assert [robot.notices for robot in settings.robots] == ["mqtt://a:1883", None]
    handed_down = settings.environment()["HEADWATER_ROBOTS"]
    assert load(robots=handed_down).robots == settings.robots


def test_what_is_set_goes_before_the_local_service(pem: str) -> None:
    settings = load(
        postgres_dsn=DSN,
        graph_uri="neo4j+s://g",
        graph_ca=pem,
        mqtt_url="mqtts://ann:p%40ss@broker",
        mqtt_ca=pem,
    )
    assert resolve_postgres(settings, LOCAL).dsn.get_secret_value() == DSN
    graph = resolve_graph(settings, LOCAL)
    assert (graph.uri, graph.driver_uri, graph.user) == ("neo4j+s://g", "neo4j://g", None)
    mqtt = resolve_mqtt(settings, LOCAL)
    assert mqtt.url.get_secret_value() == "mqtts://ann:p%40ss@broker"
    assert mqtt.tls.ca == Path(pem)


def test_neither_set_nor_running_says_what_to_do() -> None:
    with pytest.raises(UnavailableError) as caught:
        resolve_postgres(load(), {})
    assert str(caught.value) == (
        "Postgres is unavailable: no address is set and no local one is running. "
        "Run `headwater up`, or set HEADWATER_POSTGRES_DSN."
    )
    with pytest.raises(UnavailableError, match="`headwater up --kafka`, or set HEADWATER_KAFKA_URL"):
        resolve_kafka(load(), {})


def test_the_documented_table_is_the_model() -> None:
    document = settings_doc.DOCUMENT.read_text(encoding="utf-8")
    assert settings_doc.rendered(document) == document, "run `python -m infra.settings_doc`"
    documented = re.findall(r"^\| `(HEADWATER_\w+)` \|", document, re.MULTILINE)
    assert documented == [variable(name) for name in Settings.model_fields]
    assert all(field.description for field in Settings.model_fields.values())


def test_directories_of_pipelines_are_found_by_whoever_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(pipelines="one:/two")
    assert settings.pipelines == (Path("one"), Path("/two"))
    assert settings.environment()["HEADWATER_PIPELINES"] == f"{tmp_path}/one:/two"
    assert "HEADWATER_PIPELINES" not in load().environment()
