"""Digests of rows on a real Postgres: what a forger with every right there cannot set right."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from infra.postgres import open_pool
from lineage.digest import MULTIPLIER, row_hashes
from lineage.errors import SettingsError, VerificationError
from lineage.keys import Key, KeyRing, new_key
from lineage.proof.batches import verify_batch
from lineage.row_digest import columns_id
from tasks.batch import Receipt
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.store import Store
from tasks.look.verify import stored_shapes
from tasks.tables.tables import digested_columns, hashed_origin, prepare_table
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_plan, message
from tests.fixtures.proof import RUNS, RUNS_PLAN, observed

KEY, OTHER = new_key(), new_key()


def ring(*keys: Key) -> KeyRing:
    return KeyRing({key.id: key for key in keys}, keys[-1] if keys else None)


class House:
    def __init__(self, way: Way) -> None:
        self.way = way

    async def differences(self, receipt: Receipt, keys: KeyRing) -> tuple[str, ...]:
        async with self.way.pool.acquire() as connection:
            try:
                await verify_batch(connection, receipt.batch, await stored_shapes(connection), keys)
            except VerificationError as error:
                return tuple(error.differences)
        return ()

    async def tamper(self, *statements: str) -> None:
        async with self.way.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                assert not (await connection.execute(statement)).endswith(" 0")


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with open_pool(postgres_dsn, application="test") as pool:
        async with pool.acquire() as connection:
            await prepare_table(connection, CONTRACT)
            await prepare_table(connection, RUNS)
        async with Store(postgres_dsn, pool, application="test", keys=ring(KEY)) as store:
            yield House(Way(store, pool, a_plan()))


MASK = (1 << 64) - 1
INVERSE = pow(int(MULTIPLIER), -1, 1 << 64)


def before(mixed: int) -> int:
    """The state of a row hash before a word, XOR that word: the first version's steps, all undone."""
    mixed &= MASK
    return (mixed ^ (mixed >> 32)) * INVERSE & MASK


def last_word(first: pl.DataFrame, target: int) -> int:
    """The word after these columns (one row) with which the row's hash becomes `target`."""
    state = before(row_hashes(first, first.columns).item()) ^ first.width
    word = before(before(target) ^ (first.width + 1)) ^ state
    return word - (1 << 64) if word >> 63 else word


async def test_a_value_whose_row_hash_was_solved_is_found(house: House) -> None:
    """The forger sets `input_hash` so that the sum of row hashes stays: the first version sees nothing."""
    receipt = await house.way.take(a_batch(message("a", 1)))
    schema = {**CONTRACT.row_schema, **hashed_origin(CONTRACT)}
    row = await house.way.pool.fetchrow(f"SELECT {', '.join(schema)} FROM store.sensor_readings")
    stored = pl.DataFrame([tuple(row)], schema=schema, orient="row")
    target = row_hashes(stored, list(schema)).item()
    *first, last = schema
    assert last == "input_hash"  # nothing but the message says what it should be
    forged = stored.with_columns(temperature=pl.lit(99.5))
    free = last_word(forged.select(first), target)
    assert row_hashes(forged.with_columns(input_hash=pl.lit(free, pl.Int64)), list(schema)).item() == target
    await house.tamper(f"UPDATE store.sensor_readings SET temperature = 99.5, input_hash = {free}")
    (said,) = await house.differences(receipt, ring(KEY))
    what = f"sensor_readings, batch {receipt.batch}"
    assert said == f"{what}: the values of its 1 row(s) are not those recorded"


async def test_a_digest_that_is_made_anew_without_the_key_is_found(house: House) -> None:
    receipt = await house.way.take(a_batch(message("a", 1)))
    columns = digested_columns(CONTRACT)
    await house.tamper("UPDATE store.sensor_readings SET temperature = 99.5")
    tuples = await copied(house, f"SELECT {', '.join(columns)} FROM store.sensor_readings")
    header = json.dumps(
        {"bucket": None, "columns": columns, "table": "sensor_readings"}, separators=(",", ":")
    )
    made = hmac.new(b"", f"{header}\n".encode() + tuples, hashlib.sha256).hexdigest()
    await house.tamper(f"UPDATE store.ledger_outputs SET digest = '\\x{made}'")
    assert len(await house.differences(receipt, ring(KEY))) == 1
    # The digest is what the documentation says it is: whoever has the key makes the right one.
    made = hmac.new(KEY.secret, f"{header}\n".encode() + tuples, hashlib.sha256).hexdigest()
    await house.tamper(f"UPDATE store.ledger_outputs SET digest = '\\x{made}'")
    assert await house.differences(receipt, ring(KEY)) == ()


async def copied(house: House, query: str) -> bytes:
    pieces: list[bytes] = []

    async def keep(piece: bytes) -> None:
        pieces.append(bytes(piece))

    async with house.way.pool.acquire() as connection:
        await connection.copy_from_query(query, output=keep, format="binary")
    return b"".join(pieces)[19:-2]


async def test_a_row_of_another_batch_in_its_place_is_found(house: House) -> None:
    first = await house.way.take(a_batch(message("a", 1)))
    second = await house.way.take(a_batch(message("a", 2)))
    await house.tamper(
        f"UPDATE store.sensor_readings SET batch = {first.batch + second.batch} - batch",
    )
    for receipt in (first, second):
        assert len(await house.differences(receipt, ring(KEY))) == 1


async def test_rows_that_came_by_every_way_have_their_digest(house: House) -> None:
    """Copied, beside a stored key, revised, moved to the history, and more than one piece of a copy."""
    start = datetime(2026, 11, 20, tzinfo=UTC)
    moments = [start + timedelta(seconds=n) for n in range(9_000)]
    many = [message(f"device {n % 50}", 0, timestamp=at.isoformat()) for n, at in enumerate(moments)]
    receipts = [
        await house.way.take(a_batch(*many)),
        await house.way.take(a_batch(many[0], message("a", 1), message("a", 2, temperature=None))),
        await house.way.take(a_batch(message("a", 3, temperature=300), ("sensors/a/readings", b"no"))),
    ]
    for minute, status in ((0, "idle"), (1, "running"), (0, "late")):
        plan = prepare(*observed(minute, status, "one", "two"), RUNS_PLAN)
        receipts.append(await load(house.way.store, RUNS_PLAN, plan))
    for receipt in receipts:
        assert await house.differences(receipt, ring(KEY)) == ()
    kept = await house.way.pool.fetch("SELECT DISTINCT digest_version, digest_key FROM store.ledger")
    assert [tuple(row) for row in kept] == [(2, KEY.id)]
    named = "SELECT columns FROM store.ledger_outputs WHERE table_name = 'runs' LIMIT 1"
    assert await house.way.pool.fetchval(named) == columns_id(digested_columns(RUNS))


async def test_what_is_said_of_a_rejected_record_needs_the_key_too(house: House) -> None:
    receipt = await house.way.take(a_batch(message("a", 1, temperature=300), message("a", 2)))
    assert await house.differences(receipt, ring(KEY)) == ()
    await house.tamper("UPDATE store.rejected SET message = 'nothing to see here', input_hash = 4711")
    (said,) = await house.differences(receipt, ring(KEY))
    assert "what is said of its 1 record(s) is not what was recorded" in said


async def test_a_host_without_the_key_says_what_it_cannot_prove(house: House) -> None:
    receipt = await house.way.take(a_batch(message("a", 1), message("a", 2, temperature=300)))
    for keys in (ring(), ring(OTHER)):
        rows, records = await house.differences(receipt, keys)
        assert rows.endswith(f"needs the key {KEY.id}, which HEADWATER_KEY_FILE does not hold")
        assert records.endswith(f"need the key {KEY.id}, which HEADWATER_KEY_FILE does not hold")
    assert await house.differences(receipt, ring(OTHER, KEY)) == ()
    with pytest.raises(SettingsError, match=KEY.id):
        ring(OTHER).named(KEY.id)


async def test_sums_of_before_are_still_compared(house: House) -> None:
    """An output as the version before wrote it, beside one of today."""
    receipt = await house.way.take(a_batch(message("a", 1)))
    schema = {**CONTRACT.row_schema, **hashed_origin(CONTRACT)}
    row = await house.way.pool.fetchrow(f"SELECT {', '.join(schema)} FROM store.sensor_readings")
    total = row_hashes(pl.DataFrame([tuple(row)], schema=schema, orient="row"), list(schema)).item()
    await house.tamper(
        f"UPDATE store.ledger_outputs SET digest = NULL, columns = NULL, values_sum = {total}",
        "UPDATE store.ledger SET digest_version = NULL, digest_key = NULL",
    )
    assert await house.differences(receipt, ring()) == ()
    await house.tamper("UPDATE store.sensor_readings SET temperature = 99.5")
    assert len(await house.differences(receipt, ring())) == 1


async def test_the_order_of_the_key_is_that_of_its_bytes(house: House) -> None:
    """Whatever the collation of the database is: names that it would sort otherwise."""
    names = ["a", "B", "Ä", "ä", "a b", "a-b", "z", "é", "日", "~", "10", "9"]
    receipt = await house.way.take(a_batch(*(message(name, 1) for name in names)))
    assert sum(receipt.accepted.values()) == len(names)
    assert await house.differences(receipt, ring(KEY)) == ()
