"""`headwater erase`: the bytes go, who and why is kept, and the proof closes."""

import json
from collections.abc import AsyncIterator

import polars as pl
import pytest

from infra.local.addresses import Address
from tasks.load.raw import pack, unpack
from tests.fixtures.commit import a_batch, message
from tests.fixtures.headwater import Command
from tests.fixtures.proof import House, a_house

SECRET = b"not json, and somebody's name"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        await house.way.take(a_batch(message("a", 1), ("sensors/a/readings", SECRET), message("b", 1)))
        yield house


async def payloads(house: House) -> list[bytes | None]:
    packed = await house.connection.fetchval("SELECT messages FROM store.raw_batches")
    return unpack(packed)["payload"].to_list()


async def test_a_dry_run_tells_and_changes_nothing(house: House, command: Command) -> None:
    told = command("erase", "1", "1")
    assert told.returncode == 0, told.stderr
    assert told.stdout.decode().splitlines() == [
        f"1: sensors/a/readings, {len(SECRET)} bytes",
        "1 message would be erased.",
        "Nothing was changed; --apply with a --reason does it.",
    ]
    assert (await payloads(house))[1] == SECRET
    assert await house.way.value("SELECT count(*) FROM ledger") == 1


async def test_erased_bytes_are_gone_and_every_proof_closes(house: House, command: Command) -> None:
    assert (await house.prove()).ok
    before = await payloads(house)
    done = command("erase", "1", "1", "--reason", "asked for", "--by", "ada", "--apply", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == [
        {"sequence": 1, "location": "sensors/a/readings", "bytes": len(SECRET)}
    ]
    assert await payloads(house) == [before[0], None, before[2]]
    row = await house.connection.fetchrow("SELECT act, batch, sequence, reason, by_whom FROM erasures")
    assert tuple(row) == (2, 1, 1, "asked for", "ada")
    assert (await house.prove()).differences == ()
    again = command("erase", "1", "1", "--reason", "again", "--apply")
    assert again.stdout.startswith(b"0 messages were erased")
    assert await house.way.value("SELECT count(*) FROM ledger") == 2


async def test_an_erasure_covers_no_message_but_its_own(house: House, command: Command) -> None:
    assert command("erase", "1", "1", "--reason", "asked for", "--apply").returncode == 0
    await house.connection.execute(
        "INSERT INTO store.erasures (act, batch, sequence, reason, by_whom) VALUES (2, 1, 0, 'hide', 'eve')"
    )
    packed = await house.connection.fetchval("SELECT messages FROM store.raw_batches")
    hidden = pack(unpack(packed).with_columns(payload=pl.lit(None, dtype=pl.Binary)))
    await house.connection.execute("UPDATE store.raw_batches SET messages = $1", hidden)
    assert (await house.prove()).differences == (
        "raw_batches, batch 1: 2 message(s) are gone and no erasure is recorded: sequence 0, 2",
        "erasures, batch 2: who did it, why or with which rows is not what was recorded",
        "erasures: 1 message(s) of act 2, of which the log does not say so",
    )


def test_what_is_not_there_is_an_error(house: House, command: Command) -> None:
    for arguments, said in (
        (("erase", "7", "0"), b"No messages of a batch 7 are stored."),
        (("erase", "1", "3"), b"Batch 1 has 3 message(s): 0 to 2."),
        (("erase", "1", "1", "--apply"), b"--apply takes a --reason."),
    ):
        found = command(*arguments)
        assert (found.returncode, said in found.stderr) == (2, True), found.stderr
