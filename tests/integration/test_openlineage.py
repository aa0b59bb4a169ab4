"""OpenLineage on real services: what one house tells another is the same there, and others join the graph."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from infra.local.addresses import Address
from infra.openlineage import checked, sender
from lineage import graph as graphs
from lineage import relay
from lineage.commits import read_commits, run_names
from lineage.errors import RejectedError, UnavailableError
from lineage.openlineage import facets
from lineage.openlineage.export import Known, export
from lineage.openlineage.keep import WAY, Imported, import_events
from lineage.openlineage.listing import list_events
from lineage.openlineage.names import Names
from tests.fixtures import warm
from tests.fixtures.openlineage import airflow, dbt, encoded, spark
from tests.fixtures.postgres import PostgresServer, _fresh
from tests.fixtures.proof import House, a_house, furnish

NAMES = Names({"postgres": "postgres://lab-db:5432/headwater", "mqtt": "mqtt://broker:1883"})
OTHERS = [encoded(event) for event in (*dbt(), *spark(), *airflow())]


@pytest.fixture
def second_dsn(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    yield from _fresh(postgres_server, postgres_template)


async def take(house: House, documents: list[bytes], names: Names = NAMES) -> Imported:
    async with house.way.store.work() as session:
        return await import_events(session.connection, session.writer, documents, names)


async def told(house: House) -> list[bytes]:
    """Everything the house would tell, each event checked by the client."""
    commits = [commit async for commit in read_commits(house.connection)]
    names = replace(NAMES, store="lab")
    events = list(export(commits, names, Known(runs=await run_names(house.connection))))
    for event in events:
        checked(event)
    return [json.dumps(event).encode() for event in events]


async def asked(house: House, query: str, **parameters: Any) -> list[dict[str, Any]]:
    await relay.catch_up(house.connection, house.graph)
    return await house.graph.read(query, parameters)


async def clean(house: House) -> bool:
    proof = await house.prove()
    assert proof.differences == ()
    return proof.ok


async def test_what_is_told_to_an_empty_house_makes_the_same_graph_in_a_place_of_its_own(
    postgres_dsn: str, second_dsn: str, graph: Address
) -> None:
    ends = (
        "MATCH (a)-[r]->(b) WHERE type(r) <> 'SUPERSEDES' AND NOT labels(a)[0] = 'Run' "
        "RETURN type(r) AS type, a.key AS source, b.key AS target"
    )
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await take(house, OTHERS)
        await take(house, BAD)
        documents, before = await told(house), await asked(house, ends)
        assert await clean(house)
        await graphs.clear(house.graph)
    async with a_house(second_dsn, graph) as other:
        done = await take(other, documents)
        assert (done.bad, done.again, done.new) == ((), 0, len(documents))
        own = ("events:openlineage", "openlineage.import")
        found = [row for row in await asked(other, ends) if not row["source"].startswith(own)]
        prefix = "headwater:lab/"
        assert all(row["source"].startswith(prefix) and row["target"].startswith(prefix) for row in found)
        assert {
            tuple(key.removeprefix(prefix).replace("%2E", ".") for key in row.values()) for row in found
        } == {tuple(key.replace("%2E", ".") for key in row.values()) for row in before}
        assert await clean(other)


async def test_others_upstreams_join_the_graph(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await take(house, OTHERS)
        rows = await asked(
            house,
            "MATCH (a:Dataset)-[:FEEDS*1..6]->(b:Dataset) WHERE b.key ENDS WITH $name "
            "RETURN DISTINCT a.key AS key ORDER BY key",
            name="warehouse/features",
        )
        assert {row["key"] for row in rows} >= {
            "mqtt:sensors/+/readings",
            "postgres:sensor_readings",
            "openlineage:s3://lab-lake/raw/plates",
            "file:/instruments/plates/*.csv",
        }
        columns = await asked(
            house,
            "MATCH (a:Column {key: 'postgres:sensor_readings.temperature'})-[:DERIVES]->(b:Column) "
            "RETURN b.key AS key",
        )
        assert [row["key"] for row in columns] == [
            "openlineage:postgres://lab-db:5432/headwater.analytics.readings_daily.mean_temperature"
        ]
        assert await clean(house)


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield house


async def test_the_same_event_twice_is_once(house: House) -> None:
    first = await take(house, [*OTHERS, OTHERS[0]])
    assert (first.new, first.again, len(first.batches)) == (len(OTHERS), 1, 1)
    before = await house.way.value("SELECT count(*) FROM lineage_log")
    again = await take(house, OTHERS)
    assert (again.new, again.again, again.edges, again.batches) == (0, len(OTHERS), 0, ())
    assert await house.way.value("SELECT count(*) FROM lineage_log") == before
    assert await house.way.value("SELECT count(*) FROM ledger") == 1


async def test_the_events_of_a_run_add_up_over_imports(house: House) -> None:
    start, complete = (encoded(event) for event in spark())
    assert (await take(house, [start])).edges == 0
    assert (await take(house, [complete])).edges > 0
    fed = await house.way.value(
        "SELECT count(*) FROM lineage_log WHERE relationship_type = 'FEEDS' AND batch = 2"
    )
    assert fed == 2
    assert await clean(house)


async def test_a_bad_event_of_a_run_does_not_spoil_the_run(house: House) -> None:
    start, complete = spark()
    bad = json.loads(encoded(complete))
    bad["outputs"][0]["facets"]["columnLineage"] = {"fields": {"well": {}}}
    bad["outputs"].append({"namespace": "s3://lab-lake", "name": "never/told"})
    done = await take(house, [encoded(start), encoded(bad), encoded(complete)])
    assert [found.place for found in done.bad] == [2]
    told_of = "SELECT count(*) FROM lineage_log WHERE relationship_type = 'FEEDS' AND target_key LIKE "
    assert await house.way.value(f"{told_of} '%features'") == 2
    assert await house.way.value(f"{told_of} '%never/told'") == 0
    assert await clean(house)


async def test_an_event_is_kept_to_the_byte_with_the_entries_it_made(house: House) -> None:
    document = b' { "unknown\\u0000" : 1, ' + OTHERS[1].lstrip()[1:]
    await take(house, [OTHERS[0], document])
    row = await house.way.pool.fetchrow(
        "SELECT * FROM imported_events WHERE hash = $1", hashlib.sha256(document).digest()
    )
    assert row["event"] == document
    made = await house.way.value(
        "SELECT count(*) FROM lineage_log JOIN ledger USING (batch, writer) JOIN imported_events i "
        f"USING (batch) WHERE i.place = 2 AND number BETWEEN i.first_entry AND i.last_entry"  # noqa: F541
    )
    assert made == row["last_entry"] - row["first_entry"] + 1 > 5


async def test_a_facet_with_an_impossible_name_is_listed(house: House) -> None:
    event = airflow()[0]
    event["run"]["facets"]["\ud800\0"] = {"_producer": 7}
    assert (await take(house, [encoded(event)])).bad == ()
    (found,) = (await list_events(house.connection, 1)).events
    assert {(facet.name, facet.producer) for facet in found.facets} >= {("\\ud800\\0", "7")}


BAD = [b"not json", b'{"run": 1}', b"[]", encoded({**airflow()[0], "eventType": "DONE\0\ud800"})]


async def test_a_bad_event_is_kept_with_its_reason_and_the_others_are_taken(house: House) -> None:
    done = await take(house, [BAD[0], OTHERS[0], *BAD[1:], *OTHERS[1:]])
    assert [bad.place for bad in done.bad] == [1, 3, 4, 5]
    assert done.new == len(OTHERS)
    assert all(bad.reason.count(". ") == 0 and bad.reason.endswith(".") for bad in done.bad)
    kept = await house.way.pool.fetch("SELECT event FROM imported_events WHERE error IS NOT NULL")
    assert sorted(row["event"] for row in kept) == sorted(BAD)
    again = await take(house, [*BAD, OTHERS[0]])
    assert (again.new, again.again, again.batches) == (0, 1, ())
    assert [bad.place for bad in again.bad] == [1, 2, 3, 4]
    assert {bad.reason for bad in again.bad} == {bad.reason for bad in done.bad}
    assert await clean(house)


@pytest.mark.parametrize("documents", [BAD[:1], BAD, OTHERS[:1]], ids=["a bad one", "bad ones", "a start"])
async def test_an_import_without_an_edge_is_in_the_log_and_the_graph(
    house: House, documents: list[bytes]
) -> None:
    assert (await take(house, documents)).edges == 0
    batch = await asked(
        house,
        "MATCH (b:Batch)-[:PART_OF]->(:Dataset {key: 'events:openlineage'}) "
        "RETURN b.key AS key, b.events AS n",
    )
    assert batch == [{"key": "events:openlineage#1", "n": len(documents)}]
    assert await clean(house)
    await house.tamper("imported_events", "DELETE FROM store.imported_events")
    await house.tamper("ledger", "DELETE FROM store.ledger")
    assert any("batch 1, which is not in the ledger" in each for each in (await house.prove()).differences)


TAMPERINGS = {
    "an edited event": ("SET event = event || ' '::bytea WHERE place = 2", "event 2 does not match its hash"),
    "an event and its hash": (
        "SET event = 'x'::bytea, hash = sha256('x'::bytea) WHERE place = 2",
        "its 5 event(s), or what is said of them, are not those recorded",
    ),
    "a reason": ("SET error = 'none' WHERE place = 5", "its 5 event(s), or what is said of them"),
    "an event that counts no more": ("SET error = 'x' WHERE place = 1", "its 5 event(s), or what is said"),
    "an event of another batch": ("SET batch = 7 WHERE place = 3", "its 4 event(s), or what is said of them"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_tampering_with_what_is_kept_is_found_and_named(house: House, kind: str) -> None:
    await take(house, [*OTHERS[:4], BAD[0]])
    assert await clean(house)
    change, sentence = TAMPERINGS[kind]
    await house.tamper("imported_events", f"UPDATE store.imported_events {change}")
    named = [
        each for each in (await house.prove()).differences if each.startswith("imported_events, batch 1")
    ]
    assert any(sentence in each for each in named), named


async def test_an_event_that_is_gone_or_was_never_imported_is_found(house: House) -> None:
    await take(house, OTHERS)
    await house.tamper("imported_events", "DELETE FROM store.imported_events WHERE place = 2")
    (gone,) = (await house.prove()).differences
    assert gone.startswith(f"imported_events, batch 1: its {len(OTHERS) - 1} event(s)")
    await house.tamper("imported_events", "UPDATE store.imported_events SET batch = 7 WHERE place = 1")
    assert (
        "imported_events, batch 7: event 1 is of no import in the ledger" in (await house.prove()).differences
    )


async def test_facets_the_graph_does_not_show_are_listed_with_the_bad_ones(house: House) -> None:
    await take(house, [*OTHERS, BAD[0]])
    found = await list_events(house.connection, 10)
    assert found.events[0].error is not None
    names = {facet.name for event in found.events for facet in event.facets}
    assert {"lab_ticket", "airflow", "documentation", "spark_properties", "ownership"} <= names
    assert found.total == len(found.events) < (await list_events(house.connection, 10, every=True)).total
    one = await list_events(house.connection, 1)
    assert (len(one.events), one.total) == (1, found.total)


async def test_an_import_that_is_cut_off_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise UnavailableError("Postgres", "a power cut")

    with monkeypatch.context() as patched:
        patched.setattr("lineage.openlineage.keep.append.write_ledger", fail)
        with pytest.raises(UnavailableError):
            await take(house, OTHERS)
    assert await house.way.value("SELECT count(*) FROM imported_events") == 0
    assert (await take(house, OTHERS)).new == len(OTHERS)
    assert await clean(house)


async def test_kept_events_are_append_only_and_an_import_says_what_it_is(house: House) -> None:
    await take(house, OTHERS)
    assert await house.way.value("SELECT way FROM ledger") == WAY
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await house.connection.execute("DELETE FROM store.imported_events")


async def test_a_span_of_the_record_is_told_alone(house: House) -> None:
    receipts = await furnish(house)
    since = receipts[4].committed_at
    assert [c.batch async for c in read_commits(house.connection, since)] == [
        receipt.batch for receipt in receipts[4:]
    ]


async def test_who_gets_our_events_without_our_facet_still_gets_our_datasets(
    postgres_dsn: str, second_dsn: str, graph_address: Address
) -> None:
    query = "MATCH (a:Dataset)-[:FEEDS]->(b:Dataset) RETURN a.key AS a, b.key AS b ORDER BY a, b"
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish(house)
        plain = [json.loads(document) for document in await told(house)]
        fed = await asked(house, query)
        await graphs.clear(house.graph)
    for event in plain:
        event["run"]["facets"].pop(facets.ENTRIES, None)
    async with a_house(second_dsn, graph_address) as other:
        await take(other, [encoded(event) for event in plain])
        assert await asked(other, query) == fed
        assert len(fed) >= 3


class Server(ThreadingHTTPServer):
    """An OpenLineage server that keeps what it is sent, and answers `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, str | None, dict[str, Any]]] = []
        self.status = 201

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_event_is_sent_with_the_key(server: Server) -> None:
    sender(server.url, SecretStr("k"))(checked(dbt()[1]))
    ((path, key, body),) = server.received
    assert (path, key) == ("/api/v1/lineage", "Bearer k")
    assert body["job"]["name"] == dbt()[1]["job"]["name"]


def test_a_server_that_refuses_or_is_away_is_told_in_our_errors(server: Server) -> None:
    send, event = sender(server.url), checked(dbt()[1])
    server.status = 422
    with pytest.raises(RejectedError, match="answered 422"):
        send(event)
    away = r"server at http://127.0.0.1:9 is unavailable: .* Start it, or correct --url\."
    with pytest.raises(UnavailableError, match=away):
        sender("http://127.0.0.1:9")(event)


Command = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def command(postgres_dsn: str, tmp_path: Path) -> Command:
    def run(*arguments: str, given: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
        home = {
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_HOME": str(tmp_path / "home"),
            "HEADWATER_OPENLINEAGE_NAMESPACES": "postgres=postgres://lab-db:5432/headwater",
        }
        return warm.run(
            ["lineage", *arguments], cwd=tmp_path, env={**os.environ, **home, **environment}, given=given
        )

    return run


async def test_import_and_list_by_command(house: House, command: Command, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(b"\n".join([*OTHERS, b"", b"{}"]))
    done = command("import", "events.ndjson")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(b"event 6: The event has neither a run, a job nor a dataset.")
    assert b"5 events, " in done.stdout
    again = command("import", "-", "--json", given=OTHERS[0])
    assert (again.returncode, json.loads(again.stdout)["again"]) == (0, 1)
    listed = command("imported")
    assert b"lab_ticket" in listed.stdout
    assert b"neither a run" in listed.stdout
    assert json.loads(command("imported", "--json", "--all").stdout)["total"] == 6
    assert command("import", "nothing.ndjson").returncode == 2


PRETTY = [json.dumps(event, indent=2) for event in (*dbt(), *airflow())]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(json.loads(each)) for each in PRETTY),
        "[" + ",\n ".join(PRETTY) + "]",
        "\n".join(PRETTY),
        "\ufeff" + "\r\n".join(PRETTY) + "\n\n",
    ],
    ids=["a line each", "an array", "one after another", "with a mark"],
)
async def test_a_file_of_events_is_taken_whatever_its_form(
    house: House, command: Command, tmp_path: Path, text: str
) -> None:
    (tmp_path / "events.json").write_text(text, encoding="utf-8", newline="")
    done = command("import", "events.json", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (json.loads(done.stdout)["new"], json.loads(done.stdout)["bad"]) == (len(PRETTY), [])
    stored = await house.connection.fetch("SELECT event FROM imported_events ORDER BY batch, place")
    assert [json.loads(row["event"]) for row in stored] == [json.loads(each) for each in PRETTY]
    assert stored[0]["event"].decode() in text, "to the byte"
    again = command("import", "-", "--json", given=text.encode())
    assert json.loads(again.stdout)["again"] == len(PRETTY)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PRETTY[0] + "\n" + PRETTY[1][:-40], "line "),
        ('{"a": 1}\nnot json\n', "line 2, column 1: expecting an object"),
        ('[{"a": 1}\n {"b": 2}]', "line 2, column 2: expecting ',' or ']'"),
        ('[{"a": 1}, 7]', "line 1, column 12: expecting an object"),
    ],
)
async def test_a_file_that_is_none_is_refused_as_a_whole(
    house: House, command: Command, tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "events.json").write_text(text, encoding="utf-8")
    refused = command("import", "events.json")
    assert refused.returncode == 2, refused.stdout
    assert f"events.json is no file of events: {sentence}" in refused.stderr.decode()
    assert refused.stderr.count(b"\n") == 1
    assert await house.way.value("SELECT count(*) FROM imported_events") == 0


async def test_export_by_command(house: House, command: Command, server: Server, tmp_path: Path) -> None:
    await furnish(house)
    exported = command("export")
    assert exported.returncode == 0, exported.stderr
    events = [json.loads(line) for line in exported.stdout.splitlines()]
    assert {"postgres://lab-db:5432"} == {
        each["namespace"] for event in events for each in event.get("outputs", ())
    }
    schemas = [each for event in events for each in event.get("outputs", ()) if "schema" in each["facets"]]
    assert {each["name"] for each in schemas} == {
        "headwater.public.sensor_readings",
        "headwater.public.runs",
    }
    sent = command("export", "--url", server.url, HEADWATER_OPENLINEAGE_API_KEY="k")
    assert sent.returncode == 0, sent.stderr
    assert [body["run"]["runId"] for _, _, body in server.received] == [e["run"]["runId"] for e in events]
    assert {key for _, key, _ in server.received} == {"Bearer k"}
    assert command("export", "--format", "prov", "--out", "prov.json").returncode == 0
    assert "wasDerivedFrom" in json.loads((tmp_path / "prov.json").read_text())
    away = command("export", "--url", "http://127.0.0.1:9")
    assert (away.returncode, away.stderr.count(b"\n")) == (3, 1), away.stderr
    nothing = command("export", "--since", "2999-01-01")
    assert (nothing.returncode, nothing.stdout) == (0, b"")
    assert command("export", "--since", "soon").returncode == 2
