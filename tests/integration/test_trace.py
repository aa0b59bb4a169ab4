"""`headwater trace` and `headwater recall` as processes, on a real Postgres; and how trace reads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.asked.trace import Traced
from console.cli.trace import document
from lineage import naming
from lineage.proof.batches import verify_batch
from tasks.look.made_from import PAGE
from tasks.look.trace import trace
from tasks.look.verify import stored_shapes
from tasks.transform.robot_item import item_of
from tests.fixtures.aggregates import at, reading
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_way, message
from tests.fixtures.headwater import Command, keys_of_commands
from tests.fixtures.recall import House, a_house
from tests.integration.test_replay_experiments import CREATED, RUN, a_fetch, page, take
from tests.integration.test_replay_experiments import house as _experiments

experiments = _experiments  # a fixture: robots' runs
KEY = "device_id=a,timestamp=2026-11-20T01:00:00Z"
SPAN = ("--device", "a", "--from", "2026-11-20T00:00", "--to", "2026-11-20T01:30")


def asked(command: Command, *arguments: str) -> Any:
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_value_leads_to_the_bytes_it_was_read_from(command: Command, postgres_dsn: str) -> None:
    async with a_house(postgres_dsn) as house:
        sent = reading("a", at(1), temperature=25.0, humidity=40)
        first = await house.take(reading("b", at(1)), sent)
        found = asked(command, "trace", "sensor_readings", KEY, "temperature")
        assert (found["value"], found["row"]["device_id"]) == (25.0, "a")
        assert (found["message"]["location"], found["message"]["payload"]) == (sent[0], sent[1].decode())
        assert (found["message"]["raw_batch"], found["message"]["sequence"]) == (first.batch, 1)
        assert (found["commit"]["batch"], found["commit"]["way"]) == (first.batch, "fast")
        assert found["transformation"] == {"name": "sensors", "version": "0"}
        assert found["commit"]["run_id"] == str(first.run_id)
        assert found["subject"] == {"kind": "device", "id": "a"}
        text = command("trace", "sensor_readings", KEY, "temperature").stdout.decode()
        assert text.startswith("temperature  25.0\n")
        assert "sensors@0" in text
        assert sent[1].decode() in text
        for arguments in (
            ("trace", "nothing", KEY),
            ("trace", "sensor_readings", "device_id=a"),
            ("trace", "sensor_readings", KEY, "colour"),
            ("trace", "sensor_readings", "a,2026-11-20T09:00:00Z"),
        ):
            refused = command(*arguments)
            assert (refused.returncode, refused.stdout, refused.stderr.count(b"\n")) == (2, b"", 1)


async def test_an_aggregate_leads_to_the_rows_it_was_made_from_by_page(
    command: Command, postgres_dsn: str
) -> None:
    async with a_house(postgres_dsn) as house:
        readings = [
            message("a", 0, timestamp=at(1, second // 60).replace(second=second % 60).isoformat())
            for second in range(PAGE + 5)
        ]
        await house.take(*readings[:50], reading("b", at(1)))
        await house.take(*readings[50:])
        await house.refresh()
        key = "a,2026-11-20T01:00:00Z"
        (part,) = asked(command, "trace", "sensor_readings_hourly", key, "readings")["made_from"]
        assert (part["total"], part["pages"], len(part["rows"])) == (PAGE + 5, 2, PAGE)
        assert [each["payload"] for each in part["messages"]] == [m[1].decode() for m in readings[:PAGE]]
        assert not part["changed_since"]
        last = asked(command, "trace", "sensor_readings_hourly", key, "--page", "2")
        (part,) = last["made_from"]
        assert [each["payload"] for each in part["messages"]] == [m[1].decode() for m in readings[PAGE:]]
        assert last["commit"]["way"] == "refresh"
        beyond = command("trace", "sensor_readings_hourly", key, "--page", "3")
        assert (beyond.returncode, beyond.stdout) == (2, b"")
        assert beyond.stderr == b"There is no page 3: the rows it was made from end on page 2.\n"
        text = command("trace", "sensor_readings_hourly", key).stdout.decode()
        assert "temperature_mean  " in text
        assert last["transformation"]["name"] == "sensor_readings_hourly"
        await house.take(reading("a", at(1, 59)))
        (part,) = asked(command, "trace", "sensor_readings_hourly", key)["made_from"]
        assert (part["total"], part["changed_since"]) == (PAGE + 6, True)


async def test_steps_of_a_run_lead_to_their_page_and_their_earlier_sights(experiments: Any) -> None:
    contract = experiments_contract("experiment_steps")
    first = await take(experiments, a_fetch(RUN, page(10, 20)))
    second = await take(experiments, a_fetch(RUN, page(10, 30)))
    from tasks.look.row_key import read_key

    key = read_key(contract, json.dumps({"experiment_id": "r1", "step_id": "c1", contract.time: CREATED}))
    found = await trace(experiments.pool, contract, key)
    assert (found.row["volume_ul"], found.commit.batch, found.part) == (30.0, second.batch, 1)
    assert found.message is not None
    assert found.message.payload == page(10, 30)[1]
    (before,) = found.earlier
    assert (before.row["volume_ul"], before.commit.batch, before.replaced_by) == (
        20.0,
        first.batch,
        second.batch,
    )


def experiments_contract(table: str) -> Any:
    from tests.integration.test_replay_experiments import CONTRACTS

    return CONTRACTS[table]


async def test_bytes_that_are_no_text_are_base64(postgres_dsn: str) -> None:
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(reading("a", at(1))))
        key = {"device_id": "a", "timestamp": at(1)}
        found = await trace(way.pool, CONTRACT, key)
        assert found.message is not None
        found = replace(found, message=replace(found.message, payload=b"\xff\x00"))
        told = document(Traced(trace=found, column=None, value=None, subject=None))
        assert told["message"]["payload_base64"] == "/wA="
        assert "payload" not in told["message"]


async def test_recall_tells_first_and_then_does(command: Command, postgres_dsn: str, tmp_path: Path) -> None:
    async with a_house(postgres_dsn) as house:
        await house.take(reading("a", at(1)), reading("a", at(2)), reading("b", at(1)))
        await house.refresh()
        before = await house.picture()
        told = command("recall", *SPAN)
        assert told.returncode == 0, told.stderr
        assert b"sensor_readings: 1 row of 1 batch in 1 hour\n" in told.stdout
        assert b"sensor_readings_hourly: 1 row made from them" in told.stdout
        dry = asked(command, "recall", *SPAN, "--quarantine")
        assert (dry["applied"], dry["rows"]) == (False, {"sensor_readings": 1})
        assert await house.picture() == before
        for refused in (
            ("recall",),
            ("recall", *SPAN, "--quarantine", "--release"),
            ("recall", *SPAN, "--quarantine", "--apply"),
            ("recall", "--device", "a", "--from", "yesterday"),
        ):
            assert command(*refused).returncode == 2
        act = ("--quarantine", "--reason", "drifted", "--by", "ada", "--apply")
        done = asked(command, "recall", *SPAN, *act)
        assert (done["applied"], done["rows"], done["buckets"]) == (True, {"sensor_readings": 1}, 1)
        assert await house.value("SELECT count(*) FROM sensor_readings_hourly") == 2
        gone = command("trace", "sensor_readings_hourly", "a,2026-11-20T01:00:00Z")
        assert b": in quarantine is what it would be made from of sensor_readings (1)." in gone.stderr
        selection = json.loads(await house.value("SELECT selection FROM recalls"))
        assert (selection["device"], selection["until"]) == ("a", "2026-11-20 01:30:00+00:00")
        found = asked(command, "trace", "sensor_readings", KEY)
        assert (found["quarantine"]["reason"], found["quarantine"]["by_whom"]) == ("drifted", "ada")
        await house.proves(keys_of_commands(tmp_path))
        assert asked(command, "recall", *SPAN, *act)["rows"] == {}
        back = command("recall", "--device", "a", "--release", "--reason", "it was right", "--apply")
        assert b"1 row was released" in back.stdout, back.stderr
        assert await house.value("SELECT count(*) FROM sensor_readings_hourly") == 3
        await house.proves(keys_of_commands(tmp_path))


async def test_recall_makes_again_with_todays_code(
    command: Command, postgres_dsn: str, tmp_path: Path
) -> None:
    """What an earlier version stored, with "mqtt" as the source's name, runs through today's pipeline."""
    async with a_house(postgres_dsn) as house:
        first = await house.take(reading("a", at(1)), reading("b", at(1)))
        before = await house.picture()
        by_batch = ("recall", "--batch", str(first.batch), "--reprocess")
        dry = asked(command, *by_batch)
        changes = dry["changes"]["sensor_readings"]
        assert (changes["changed"], changes["columns"]) == (2, {"source_name": 2})
        assert changes["examples"][0]["columns"] == {"source_name": ["mqtt", "sensors"]}
        assert await house.picture() == before
        done = command(*by_batch, "--reason", "a new name", "--apply")
        assert b"source_name: 2 rows" in done.stdout, done.stderr
        assert await house.fetch("SELECT DISTINCT source_name FROM sensor_readings") == [("sensors",)]
        assert await house.fetch("SELECT DISTINCT source_name FROM store.sensor_readings_history") == [
            ("mqtt",)
        ]
        batch = await house.value("SELECT max(batch) FROM ledger WHERE way = 'reprocess'")
        found = asked(command, "trace", "sensor_readings", KEY)
        assert [each["commit"]["batch"] for each in found["earlier"]] == [first.batch]
        assert (found["commit"]["batch"], found["message"]["raw_batch"]) == (batch, first.batch)
        again = asked(command, *by_batch, "--reason", "again", "--apply")
        assert (again["batches"], again["changes"]["sensor_readings"]["unchanged"]) == ([], 2)
        await house.proves(keys_of_commands(tmp_path))


async def test_a_run_of_a_robot_is_recalled_with_its_steps(
    command: Command, postgres_dsn: str, experiments: Any, tmp_path: Path
) -> None:
    from tasks.tables.tables import prepare_table

    async with experiments.pool.acquire() as connection:
        await prepare_table(connection, SHIPPED.derived["experiment_summary"].contract)
    first = await take(experiments, a_fetch(RUN, page(10, 20)))
    await take(experiments, a_fetch(RUN, page(10, 30)))
    scope = asked(command, "recall", "--experiment", "r1")["scope"]
    assert {each["table"]: each["rows"] for each in scope["tables"]} == {
        "experiments": 1,
        "experiment_steps": 2,
    }
    act = ("--reprocess", "--reason", "a batch of an experiment", "--apply")
    done = asked(command, "recall", "--batch", str(first.batch), *act)
    assert done["changes"]["experiment_steps"]["withdrawn"] == 0
    assert done["changes"]["experiment_steps"]["new"] == 0
    assert (
        await experiments.pool.fetchval("SELECT volume_ul FROM experiment_steps WHERE step_id = 'c1'") == 30
    )
    out = ("--quarantine", "--reason", "a wrong protocol", "--apply")
    assert asked(command, "recall", "--experiment", "r1", *out)["rows"] == {
        "experiments": 1,
        "experiment_steps": 2,
    }
    for table in ("experiments", "experiment_steps", "experiment_summary"):
        assert await experiments.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    await take(experiments, a_fetch(RUN, page(10, 40)))  # a newer sight of the same keys stays out
    assert await experiments.pool.fetchval("SELECT count(*) FROM experiment_steps") == 0
    async with experiments.pool.acquire() as connection:
        shapes = await stored_shapes(connection)
        for row in await connection.fetch("SELECT batch FROM ledger"):
            await verify_batch(connection, row["batch"], shapes, keys_of_commands(tmp_path))


async def test_a_file_is_recalled_by_its_path(command: Command, postgres_dsn: str) -> None:
    async with a_house(postgres_dsn) as house:
        await house.take(reading("b", at(1)))
        await of_file(house, "/data/may.csv")
        scope = asked(command, "recall", "--file", "/data/may.csv")["scope"]
        assert [each["rows"] for each in scope["tables"]] == [1]
        for typo in (
            ("--file", "/data/june.csv"),
            ("--device", "nobody"),
            ("--experiment", "nothing"),
            ("--batch", "99999"),
            ("--transformation", "foo"),
        ):
            unknown = command("recall", *typo)
            assert (unknown.returncode, unknown.stdout) == (2, b"")
            assert unknown.stderr.decode().endswith(f" {typo[1]}.\n")
        empty = command("recall", "--device", "a", "--to", "2026-01-01")
        assert (empty.returncode, empty.stdout[:13]) == (0, b"No stored row")


async def of_file(house: House, path: str) -> None:
    from tasks.batch import Position

    uri = naming.file("*.csv")
    batch = replace(
        a_batch(reading("a", at(1))), dataset=uri, position=Position(source=uri, detail={"path": path})
    )
    way: Way = house.way
    await way.take(batch)


async def test_a_step_leads_to_its_own_json_and_not_to_its_page(experiments: Any, command: Command) -> None:
    location, body = page(20.0, 35.5)
    body = body.replace(b'{"data": ', b'{"meta": {"data": []},\n "data" : ').replace(
        b'"id": "c1"', b'"id":  "c1"'
    )
    await take(experiments, a_fetch(RUN, (location, body)))
    key = f"experiment_id=r1,step_id=c1,experiment_created_at={CREATED}"
    own = body[body.index(b'{"id":  "c1"') : body.index(b"}], ") + 1].decode()
    assert json.loads(own)["params"] == {"volume": 35.5}
    found = asked(command, "trace", "experiment_steps", key)
    assert found["record"] == own
    assert found["message"]["payload"] == body.decode()
    shown = command("trace", "experiment_steps", key).stdout.decode()
    assert own in shown
    assert '"id": "c0"' not in shown
    run = asked(command, "trace", "experiments", f"experiment_id=r1,created_at={CREATED}")
    assert "record" not in run


@pytest.mark.parametrize(
    ("page", "part", "item"),
    [
        (b'{"data":[{"a":1} , [2]]}', 0, b'{"a":1}'),
        (b' {"data" : [ {"a":1} , [2] ] } ', 1, b"[2]"),
        (b'{"data":[1],"data":["\\u00e9 \xc3\xa9"]}', 0, b'"\\u00e9 \xc3\xa9"'),
        (b'{"data":[1]}', 1, None),
        (b'{"data":{}}', 0, None),
        (b"{}", 0, None),
        (b"[]", 0, None),
        (b"\xff", 0, None),
        (b'{"data":' + b"[" * 100_000, 0, None),
    ],
)
def test_an_item_is_cut_out_of_its_page_as_it_stands(page: bytes, part: int, item: bytes | None) -> None:
    assert item_of(page, part) == item
