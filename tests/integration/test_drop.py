"""Drop on real services: recorded with who and why, once, and nothing else is touched."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from console.asked.rejected import drop as drop_by_command
from infra.local.addresses import Address
from infra.postgres import Pool, open_pool, translated
from infra.settings import load
from lineage.errors import UnavailableError
from tasks.again.replay import DROPPING
from tasks.look.rejected_queries import Which, list_rejected, show_rejected
from tasks.look.status import open_rejected
from tests.fixtures.commit import NOW, a_batch, message
from tests.fixtures.drop import ANY, dropped
from tests.fixtures.headwater import Command
from tests.fixtures.proof import a_house as a_proven
from tests.fixtures.proof import furnish
from tests.fixtures.replay import TOPIC, House, a_house

HOT, DRY, BROKEN = message("a", 1, temperature=300), message("a", 2, humidity=-1), (TOPIC, b"{")


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


async def waiting(pool: Pool) -> int:
    return sum((await open_rejected(pool)).values())


async def test_what_is_dropped_waits_no_longer_and_is_still_there(house: House) -> None:
    first = await house.take(a_batch(message("a", 0), HOT, DRY, BROKEN))
    done = await dropped(house.pool, Which(rule="temperature.range"))
    assert (done.records, dict(done.rules)) == (1, {"temperature.range": 1})
    assert await waiting(house.pool) == 2
    (row,) = await house.pool.fetch("SELECT * FROM drops")
    assert (row["rules"], row["reason"], row["by_whom"]) == (["temperature.range"], "a broken probe", "ada")
    listed = await list_rejected(house.pool, Which(resolved=True), 50)
    assert (listed.total, (await list_rejected(house.pool, ANY, 50)).total) == (3, 2)
    shown = await show_rejected(house.pool, row["identity"].hex())
    assert shown.payload == HOT[1]
    assert (shown.record["batch"], shown.record["resolved_by"]) == (first.batch, row["act"])
    assert [(v["verdict"], v["by_whom"]) for v in shown.replays] == [("dropped", "ada")]
    await house.books_hold()


async def test_a_dropped_record_stays_dropped_when_its_time_has_come(house: House) -> None:
    early = message("a", 0, timestamp="2026-11-22T01:00:08Z")
    await house.take(a_batch(early))
    await dropped(house.pool, Which(rule="timestamp.furthest"))
    later = NOW + timedelta(days=2)
    batch = replace(a_batch(early, message("a", 1)), received_at=later, received_until=later)
    again = await house.take(batch)
    assert (again.way, again.accepted["sensor_readings"], again.duplicates) == ("staging", 1, 1)


async def test_a_dropped_record_comes_back_neither_by_replay_nor_by_redelivery(house: House) -> None:
    await house.take(a_batch(HOT, DRY))
    await dropped(house.pool, Which(rule="temperature.range"))
    before = await house.pool.fetch("SELECT * FROM rejected ORDER BY identity")
    again = await house.take(a_batch(HOT, may_repeat=True))
    assert (again.duplicates, again.rejected) == (1, 0)
    assert await house.pool.fetch("SELECT * FROM rejected ORDER BY identity") == before
    (receipt,) = await house.replay(400.0)  # under which the dropped one would pass
    assert (receipt.read, receipt.accepted, receipt.rejected) == (1, {"sensor_readings": 0}, 1)
    await house.books_hold()


async def test_a_dry_run_and_a_second_drop_change_nothing(house: House) -> None:
    await house.take(a_batch(HOT, DRY))
    before = await house.picture()
    assert (await dropped(house.pool, dry_run=True)).records == 2
    assert await house.picture() == before
    await dropped(house.pool)
    before = await house.picture()
    assert (await dropped(house.pool)).records == 0
    assert await house.picture() == before
    assert await house.pool.fetchval("SELECT count(*) FROM recalls") == 1


@pytest.fixture
async def slow(house: House) -> None:
    """A drop takes more than a second."""
    await house.pool.execute(
        "CREATE FUNCTION store.wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$; "
        "CREATE TRIGGER wait BEFORE INSERT ON store.replays FOR EACH STATEMENT EXECUTE FUNCTION store.wait()"
    )


@pytest.mark.usefixtures("slow")
async def test_a_drop_may_take_longer_than_a_statement_of_its_connection(house: House) -> None:
    await house.take(a_batch(HOT))
    async with open_pool(house.dsn, application="test", statement_timeout_ms=500) as hasty:
        assert (await dropped(hasty)).records == 1
        with pytest.raises(UnavailableError, match="statement timeout"), translated():
            await hasty.execute("SELECT pg_sleep(5)")


@pytest.mark.usefixtures("slow")
async def test_a_drop_may_take_longer_than_a_commit(house: House, tmp_path: Path) -> None:
    await house.take(a_batch(HOT))
    second = timedelta(seconds=1)
    settings = load(home=tmp_path, postgres_dsn=house.dsn, statement_timeout=second, commit_timeout=second)
    assert (await drop_by_command(settings, ANY, reason="old", by_whom="ada", apply=True)).records == 1


async def test_the_act_is_append_only(house: House) -> None:
    await house.take(a_batch(HOT))
    await dropped(house.pool)
    for table in ("recalls", "replays"):
        with pytest.raises(Exception, match="append-only"):
            await house.pool.execute(f"DELETE FROM store.{table}")


async def test_a_drop_waits_for_a_replay_and_a_replay_for_a_drop(house: House) -> None:
    await house.take(a_batch(HOT))
    async with house.pool.acquire() as replaying:
        await replaying.execute("SELECT pg_advisory_lock_shared($1, $2)", *DROPPING)
        dropping = asyncio.create_task(dropped(house.pool))
        replay = asyncio.create_task(house.replay(400.0))  # replays do not wait for each other
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(dropping), 0.5)
        await replaying.execute("SELECT pg_advisory_unlock_shared($1, $2)", *DROPPING)
    receipts, done = await asyncio.gather(replay, dropping)
    assert len(receipts) + done.records == 1
    await house.books_hold()


async def test_the_proof_stays_clean(postgres_dsn: str, graph_address: Address) -> None:
    async with a_proven(postgres_dsn, graph_address) as house:
        receipts = await furnish(house)
        assert (await dropped(house.way.pool)).records == sum(receipt.rejected for receipt in receipts)
        proof = await house.prove()
        assert proof.ok, proof.differences
        edges = await house.connection.fetch(
            "SELECT source_key, run_id FROM lineage_log WHERE target_key LIKE 'postgres:drops#%'"
        )
        rejected = [f"postgres:rejected#{receipt.batch}" for receipt in receipts if receipt.rejected]
        assert sorted(edge["source_key"] for edge in edges) == sorted(rejected)
        assert {edge["run_id"] for edge in edges} == {
            await house.connection.fetchval("SELECT run_id FROM recalls")
        }


async def test_the_command_tells_first_and_wants_a_reason(house: House, command: Command) -> None:
    await house.take(a_batch(HOT, DRY, BROKEN))
    before = await house.picture()
    told = command("rejected", "drop", "--stage", "validate")
    assert told.stdout.splitlines()[-2:] == [
        b"2 records would be dropped.",
        b"Nothing was changed; --apply with a --reason does it.",
    ]
    assert command("rejected", "drop", "--apply").returncode == 2
    assert await house.picture() == before
    arguments = ("--stage", "validate", "--apply", "--reason", "old probe", "--by", "grace", "--json")
    done = command("rejected", "drop", *arguments)
    rules = {"temperature.range": 1, "humidity.range": 1}
    assert json.loads(done.stdout) == {"applied": True, "records": 2, "rules": rules}, done.stderr
    act = await house.pool.fetchrow("SELECT kind, reason, by_whom, selection FROM recalls")
    assert tuple(act)[:3] == ("drop", "old probe", "grace")
    assert json.loads(act["selection"])["stage"] == "validate"
    dropped_one = await house.pool.fetchval("SELECT encode(identity, 'hex') FROM drops LIMIT 1")
    assert b"verdict dropped" in command("rejected", "show", dropped_one).stdout
