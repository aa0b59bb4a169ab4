"""Rows made again from their messages: what stored values come from, which no digest shows."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from console.asked.erase import erased
from flows.acts.from_bytes import ANOTHER
from infra.local.addresses import Address
from lineage import naming
from lineage.proof import Proof
from lineage.proof.from_bytes import FromBytes
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch
from tasks.load.standing import standing_where
from tasks.look.rejected_queries import Which
from tasks.transform.lost_steps import OPEN, OPEN_STEPS
from tests.fixtures import catalogs
from tests.fixtures.commit import NOW, a_batch, message
from tests.fixtures.drop import dropped
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.graph import graph_settings
from tests.fixtures.headwater import Command
from tests.integration.test_replay_experiments import RUN, a_fetch, page

HERE = {"location": {"latitude": 52.52, "longitude": 13.40}, "humidity": 55.5}
DOC = Path(__file__).parents[2] / "docs" / "proof.md"
DEVICE = ("a", "Probe A", "T-1000", "lab 1")
REGISTER = "postgres:devices is not what it was"
COLUMNS = 16 + 5  # of the contract, and what a row carries but for its place


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        await house.register(DEVICE)
        yield house


def told(proof: Proof) -> FromBytes:
    assert proof.from_bytes is not None
    return proof.from_bytes


def a_file(*lines: str) -> RawBatch:
    header, chunk = "device_id,timestamp,temperature\n", "".join(f"{line}\n" for line in lines)
    rows = [("x.csv:1", header.encode()), ("x.csv:2", chunk.encode())]
    return RawBatch(
        dataset=naming.file("sensors/**/*"),
        messages=pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=Layout(format=Format.CSV),
    )


async def furnish(house: House) -> None:
    """Rows of every source, duplicates, conflicts, rejected records of every stage, and a redelivery."""
    first = a_batch(
        message("a", 1, **HERE),
        message("a", 1, **HERE),  # a duplicate
        message("a", 1, temperature=-0.0),  # a conflict in the batch
        message("b", 2, temperature=200),
        ("sensors/a/readings", b"not json"),
        message("b", 3, temperature=None, humidity=1e-300),
    )
    await house.take(first)
    await house.take(replace(first, may_repeat=True))  # all of it again: duplicates
    await house.take(a_batch(message("a", 1, temperature=7), message("c", 1)))  # a conflict with what stands
    lines = "f,2026-11-21T00:00:01Z,1.5", "f,2026-11-21T00:00:02Z,500", "f,2026-11-21T00:00:01Z,1.5", "f,x"
    await house.take(a_file(*lines, "g,2026-11-21T00:00:03Z,-0.25"), "sensors-files")


async def test_a_clean_house_is_made_again_to_the_last_value(house: House) -> None:
    assert (await house.prove(from_bytes=False)).from_bytes is None
    await furnish(house)
    await house.take(a_fetch(RUN, page(10, -5, 20)), "experiments")
    proof = await house.prove()
    assert proof.differences == ()
    found = told(proof)
    readings, runs, steps = 5, 1, 2
    stored = await house.value("SELECT count(*) FROM store.sensor_readings")
    assert (stored, found.rows, found.batches) == (readings, readings + runs + steps, 5)
    assert found.values > readings * COLUMNS
    # b 200 and not json; 500 and "f,x" of the file; a step of -5 µL. Apart: both conflicts.
    assert (found.rejected, found.apart, found.erased) == (5, 2, 0)
    assert (dict(found.left_out), dict(found.not_made)) == ({}, {})
    assert found.sentences == (
        f"from bytes: 8 rows ({found.values:,} values) and 5 rejected records of 5 batches made again",
        "not compared: 2 rejected records whose verdict depends on what else was stored",
    )


FORGED = {
    "a value": (
        "UPDATE store.sensor_readings SET temperature = 21 WHERE device_id = 'a' AND batch = 1",
        "sensor_readings, batch 1, message 0: temperature is stored as 21.0 and made again as 20.5",
    ),
    "the sign of a zero": (
        "UPDATE store.sensor_readings SET temperature = '-0' WHERE device_id = 'z'",
        "sensor_readings, batch 5, message 0: temperature is stored as -0.0 and made again as 0.0",
    ),
    "the last bit of a double": (
        "UPDATE store.sensor_readings SET temperature = 1.5000000000000002 WHERE device_id = 'f'",
        "sensor_readings, batch 4, message 1, part 0: temperature is stored as 1.5000000000000002 "
        "and made again as 1.5",
    ),
    "a value where there was none": (
        "UPDATE store.sensor_readings SET pressure = 1000 WHERE device_id = 'g'",
        "sensor_readings, batch 4, message 1, part 4: pressure is stored as 1000.0 and made again as null",
    ),
    "what a device is called": (
        "UPDATE store.sensor_readings SET device_site = 'lab 2' WHERE device_id = 'a'",
        "sensor_readings, batch 1, message 0: device_site is stored as 'lab 2' and made again as 'lab 1'",
    ),
    "where a row came from": (
        "UPDATE store.sensor_readings SET sequence = 4 WHERE device_id = 'a' AND batch = 1",
        "sensor_readings, batch 1, message 4: a row is stored, and its message makes no such row",
    ),
    "whose reading it is": (
        "UPDATE store.sensor_readings SET device_id = 'aa' WHERE device_id = 'c'",
        "sensor_readings, batch 3, message 1: device_id is stored as 'aa' and made again as 'c'",
    ),
    "a volume of a robot": (
        "UPDATE store.experiment_steps SET volume_ul = 11 WHERE step_id = 'c0'",
        "experiment_steps, batch 6, message 1, part 0: volume_ul is stored as 11.0 and made again as 10.0",
    ),
    "a record rejected by another rule": (
        "UPDATE store.rejected SET rules = '{humidity.range}' "
        "WHERE rules = '{temperature.range}' AND batch = 1",
        "rejected, batch 1, message 3: it is stored as rejected by humidity.range, and made again it is "
        "rejected by temperature.range",
    ),
    "a record that is said to be in conflict": (
        "UPDATE store.rejected SET rules = '{key.conflict}' "
        "WHERE rules = '{temperature.range}' AND batch = 1",
        "rejected, batch 1, message 3: it is stored as rejected by key.conflict, and made again it is "
        "rejected by temperature.range",
    ),
    "the key of a rejected record": (
        "UPDATE store.rejected SET key = replace(key, 'b', 'q') "
        "WHERE rules = '{temperature.range}' AND batch = 1",
        "rejected, batch 1, message 3: key is stored as ",
    ),
}
"""What is done → what a proof from the bytes says of it."""


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forger_with_the_key_is_found_by_the_bytes_alone(house: House, kind: str) -> None:
    await furnish(house)
    await house.take(a_batch(message("z", 1, temperature=0.0)))
    await house.take(a_fetch(RUN, page(10, -5, 20)), "experiments")
    assert (await house.prove()).differences == ()
    statement, sentence = FORGED[kind]
    await house.forge(statement)
    assert (await house.prove(from_bytes=False)).differences == ()  # every digest, sum and seal is right
    proof = await house.prove()
    assert not proof.ok
    assert any(each.startswith(sentence) for each in proof.differences), proof.differences
    kept = await house.connection.fetchval("SELECT differences FROM store.proofs ORDER BY proof DESC LIMIT 1")
    assert kept == proof.total


LESS = (
    "UPDATE store.ledger_outputs SET rows = rows - 1 WHERE batch = 1",
    "UPDATE store.ledger SET accepted = accepted - 1, duplicates = duplicates + 1 WHERE batch = 1",
)


async def test_a_row_and_a_rejected_record_that_are_kept_back_are_found(house: House) -> None:
    """What was read is there, and the books balance; as if both had only said what was stored."""
    await house.take(a_batch(message("a", 1), message("b", 2), message("b", 3, temperature=200)))
    assert (await house.prove()).differences == ()
    await house.forge(
        "DELETE FROM store.sensor_readings WHERE device_id = 'b'",
        *LESS,
        "DELETE FROM store.rejected",
        "UPDATE store.ledger SET rejected = 0, duplicates = duplicates + 1 WHERE batch = 1",
    )
    made = ": its message makes it again, and it is not stored, rejected or a duplicate"
    said = (await house.prove()).differences
    assert f"sensor_readings, batch 1, message 1{made}" in said
    assert f"rejected, batch 1, message 2{made}" in said


async def test_another_register_is_no_difference_and_is_said(house: House) -> None:
    await house.take(a_batch(message("a", 1, **HERE), message("b", 1)))
    await house.register(("a", "Probe A", "T-1000", "moved to lab 2"))
    proof = await house.prove()
    assert proof.differences == ()
    derived = ("device_name", "device_model", "device_site")
    assert told(proof).left_out == {f"sensor_readings.{name}: {REGISTER}": 2 for name in derived}
    assert f"not compared: sensor_readings.device_site: {REGISTER}, in 2 rows" in told(proof).sentences
    await house.forge("UPDATE store.sensor_readings SET place = 'Paris' WHERE device_id = 'a'")
    (said,) = (await house.prove()).differences  # what the libraries said is compared all the same
    assert said.endswith("place is stored as 'Paris' and made again as 'Mitte'")
    await house.register(DEVICE)
    assert not told(await house.prove()).left_out  # it is what it was


async def test_what_was_looked_up_and_is_not_known_is_left_out(house: House) -> None:
    await house.take(a_batch(message("a", 1, **HERE)))
    await house.forge("UPDATE store.ledger SET looked_up = NULL")  # as before it was written down
    proof = await house.prove()
    assert proof.differences == ()
    out = told(proof).left_out
    assert len(out) == 6
    assert out["sensor_readings.device_name: postgres:devices as it was then is not known"] == 1
    assert out["sensor_readings.place: library:reverse_geocode as it was then is not known"] == 1


async def test_what_was_looked_up_is_covered_by_the_seals(house: House) -> None:
    await house.take(a_batch(message("a", 1)))
    assert (await house.prove()).ok
    await house.connection.execute("SET session_replication_role = replica")
    await house.connection.execute("UPDATE store.ledger SET looked_up = '{}'")
    await house.connection.execute("SET session_replication_role = origin")
    assert any("seal 1" in each for each in (await house.prove(from_bytes=False)).differences)


async def test_what_another_version_made_is_said_and_not_compared(house: House) -> None:
    await house.take(a_batch(message("a", 1)))
    path = house.pipelines / "sensors" / "sensors.yaml"
    said = yaml.safe_load(path.read_text())
    said["steps"][-1] = {"set": {"source_name": "'another'"}}
    catalogs.written(path, said)
    proof = await house.prove()
    assert (proof.differences, told(proof).rows) == ((), 0)
    assert told(proof).sentences == (
        "from bytes: NOTHING was made again, so this says nothing of where any value comes from",
        f"not made again: 1 batch: {ANOTHER}",
    )
    await house.take(a_batch(message("a", 2)))
    found = told(await house.prove())
    assert (found.rows, dict(found.not_made)) == (1, {ANOTHER: 1})


async def test_what_was_made_of_erased_bytes_is_said(house: House) -> None:
    await house.take(a_batch(message("a", 1), message("b", 1), message("b", 2, temperature=200)))
    await house.take(a_file("f,2026-11-21T00:00:01Z,1.5"), "sensors-files")
    await erased(house.settings, 1, [1], reason="asked for", by_whom="ada", apply=True)
    await erased(house.settings, 2, [1], reason="asked for", by_whom="ada", apply=True)
    proof = await house.prove()
    assert proof.differences == ()
    found = told(proof)
    assert (found.rows, found.rejected, found.erased) == (1, 1, 1)
    assert found.not_made == {
        "bytes that they were made of are erased": 1,
        "they were made of no messages (erase)": 2,
    }


async def test_rows_of_acts_and_in_history_are_compared_as_well(house: House) -> None:
    """Replayed, dropped, replaced and withdrawn: each is made again as the commit that it is of made it."""
    first = a_batch(
        message("a", 1), message("b", 1, temperature=120), message("c", 1, humidity=-1), message("d", 1)
    )
    await house.take(first)
    await dropped(house.store.pool, Which(rule="humidity.range"))
    house.allow(130)
    await house.replay()  # b is a row now
    late = await house.take(a_batch(message("e", 1, temperature=125), message("a", 1)))
    house.allow(122)
    await house.reprocess(1)
    await house.reprocess(late.batch)  # e is withdrawn
    assert await house.value("SELECT count(*) FROM store.sensor_readings_history") == 1
    proof = await house.prove()
    assert proof.differences == ()
    assert told(proof).not_made[ANOTHER] >= 3
    allow_again(house, 130)
    proof = await house.prove()
    assert proof.differences == ()
    found = told(proof)
    assert found.rows == 2  # b of the replay, and e in the history
    await house.forge("UPDATE store.sensor_readings_history SET temperature = 99")
    said = (await house.prove()).differences
    assert any("temperature is stored as 99.0 and made again as 125.0" in each for each in said), said


async def test_a_key_that_a_replay_took_is_made_again_alone(house: House) -> None:
    """Two records of a batch have one key; which of them has a row changed since."""
    await house.take(a_batch(message("a", 1), message("a", 1, temperature=30)))
    await house.reprocess(1)
    proof = await house.prove()
    assert proof.differences == ()
    assert told(proof).apart == 1


async def test_a_step_that_a_robot_lost_is_concluded_again(house: House) -> None:
    going = ("/runs/r1", RUN[1].replace(b"succeeded", b"running"))
    step = ("/runs/r1/commands", page(10)[1].replace(b"succeeded", b"running"))
    await house.take(a_fetch(going, step), "experiments")
    contract = house.catalog.pipeline("experiments").contracts["experiment_steps"]
    standing = await standing_where(house.store.pool, contract, {"experiment_id": ["r1"], "status": OPEN})
    later = replace(a_fetch(RUN, page()), received_at=NOW + timedelta(minutes=1))
    await house.take(later, "experiments", **{OPEN_STEPS: standing})
    proof = await house.prove()
    assert proof.differences == ()
    found = told(proof)
    assert (found.rows, found.batches) == (4, 2)
    await house.forge("UPDATE store.experiment_steps SET command_type = 'wash' WHERE status = 'lost'")
    (said,) = (await house.prove()).differences
    assert "command_type is stored as 'wash' and made again as 'aspirate'" in said


async def test_a_forged_verdict_that_is_said_to_be_of_another_batch_is_found(house: House) -> None:
    await furnish(house)
    await house.forge(
        "UPDATE store.rejected SET raw_batch = 3, rules = '{humidity.range}' "
        "WHERE rules = '{temperature.range}' AND batch = 1"
    )
    assert (await house.prove(from_bytes=False)).differences == ()
    differences = (await house.prove()).differences
    assert any("and made again it is rejected by temperature.range" in each for each in differences)


async def test_a_record_that_came_twice_and_is_judged_again_by_the_second_batch_is_no_difference(
    house: House,
) -> None:
    """It is rejected for what is stored, and its row says that it stands in the first batch."""
    twice = message("a", 1, temperature=21.0)
    await house.take(a_batch(message("a", 1, temperature=20.0)))
    await house.take(a_batch(twice))
    await house.take(a_batch(twice, message("a", 2)))
    await house.reprocess(3)
    await house.reprocess(2)
    assert (await house.prove()).differences == ()


async def test_a_table_that_is_not_there_ends_no_proof(house: House) -> None:
    await furnish(house)
    await house.connection.execute("SET session_replication_role = replica")
    await house.connection.execute(
        "UPDATE store.ledger_outputs SET table_name = 'gone' WHERE batch = 1 AND bucket IS NULL"
    )
    differences = (await house.prove()).differences
    assert any(each.startswith("from bytes, gone: what is stored cannot be read") for each in differences)


async def test_rows_of_a_batch_that_read_no_message_are_found(house: House) -> None:
    await furnish(house)
    await house.forge("UPDATE store.ledger SET raw_digest = NULL WHERE batch = 4")
    differences = (await house.prove()).differences
    assert any("of a batch that read no message" in each for each in differences), differences


async def test_a_forged_value_that_is_called_concluded_is_found(house: House) -> None:
    await furnish(house)
    await house.forge("UPDATE store.sensor_readings SET temperature = 21, part = -1 WHERE batch = 1")
    assert (await house.prove(from_bytes=False)).differences == ()
    differences = (await house.prove()).differences
    assert any("a row is stored, and its message makes no such row" in each for each in differences)


async def test_a_proof_of_what_is_new_makes_again_what_is_new(house: House) -> None:
    await house.take(a_batch(message("a", 1)))
    assert told(await house.prove(full=False)).rows == 1
    empty = told(await house.prove(full=False))
    assert empty.sentences[0].startswith("from bytes: NOTHING was made again")
    await house.take(a_batch(message("a", 2), message("a", 3)))
    assert told(await house.prove(full=False)).rows == 2
    assert told(await house.prove()).rows == 3


def allow_again(house: House, maximum: float) -> None:
    contract = yaml.safe_load(house.table().read_text())
    catalogs.written(house.table(), {**contract, "version": contract["version"] - 2})
    house.allow(maximum)


async def test_the_command_tells_what_the_document_shows(
    house: House,
    command: Command,
    graph_address: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in graph_settings(graph_address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_KEY_FILE", str(tmp_path / "digest.key"))
    monkeypatch.setenv("HEADWATER_ANCHOR_FILE", str(tmp_path / "anchors.ndjson"))
    await house.take(a_batch(message("a", 1), message("b", 2), message("b", 3, temperature=200)))
    await house.take(a_batch(message("b", 2, temperature=7)))  # a conflict
    await house.register(("a", "Probe A", "T-1000", "lab 2"))
    await house.forge("UPDATE store.sensor_readings SET temperature = 21 WHERE device_id = 'b'")
    assert command("prove", "--full").returncode == 0
    done = command("prove", "--full", "--from-bytes")
    assert done.returncode == 1, done.stderr
    said = f"$ headwater prove --full --from-bytes\n{done.stdout.decode()}```"
    assert said in DOC.read_text(encoding="utf-8")
    as_json = json.loads(command("prove", "--full", "--from-bytes", "--json").stdout)
    assert (as_json["total"], as_json["from_bytes"]["rows"]) == (1, 2)
    assert as_json["from_bytes"]["left_out"][f"sensor_readings.device_site: {REGISTER}"] == 2
