"""The rules of the commit, on a real Postgres: one transaction, books that balance."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

import polars as pl
import pytest

from infra.graph import open_graph
from infra.local.addresses import Address
from infra.postgres import ENCODED_ROWS, connect, copy_frame
from lineage import graph as graphs
from lineage import relay
from lineage.errors import DataError
from lineage.log import FIRST_HEAD, canonical, chain, entry_of
from lineage.projection import digest
from tasks.batch import MESSAGE_SCHEMA, Format, Layout
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.load import raw, settle
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.transform import records
from tests.fixtures.commit import CONTRACT, NOW, REFERENCE, Way, a_batch, a_way, message
from tests.fixtures.graph import endpoint_of
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.readings import steps_of, topics_of


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Way]:
    async with a_way(postgres_dsn) as way:
        yield way


async def test_a_batch_is_one_transaction_and_its_books_balance(way: Way) -> None:
    good, bad = message("a", 1), message("a", 2, temperature=200)
    receipt = await way.take(a_batch(good, good, bad, ("sensors/a/readings", b"not json")))
    assert (receipt.read, receipt.accepted["sensor_readings"]) == (4, 1)
    assert (receipt.rejected, receipt.duplicates, receipt.way) == (2, 1, "fast")
    ledger = await way.pool.fetchrow("SELECT * FROM ledger")
    assert (
        ledger["read"] == ledger["accepted"] + ledger["rejected"] + ledger["duplicates"] + ledger["filtered"]
    )
    assert await way.value("SELECT count(*) FROM sensor_readings") == 1
    rules = await way.pool.fetch("SELECT rules FROM rejected ORDER BY sequence")
    assert [row["rules"] for row in rules] == [["temperature.range"], ["payload.json"]]


async def test_rows_that_are_sent_in_several_slices_arrive_whole(way: Way) -> None:
    numbers = pl.DataFrame({"number": range(2 * ENCODED_ROWS + 1)})
    async with way.pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE numbers (number bigint)")
        await copy_frame(connection, numbers, "numbers", schema=None)
        found = await connection.fetchrow("SELECT count(*), sum(number) FROM numbers")
    assert tuple(found) == (numbers.height, numbers["number"].sum())


async def test_a_rejected_record_leads_to_its_bytes(way: Way) -> None:
    await way.take(a_batch(message("a", 1), ("sensors/a/readings", b"\xff\x00")))
    row = await way.pool.fetchrow(
        "SELECT r.sequence, b.messages FROM rejected r JOIN raw_batches b USING (batch)"
    )
    assert raw.unpack(row["messages"])["payload"][row["sequence"]] == b"\xff\x00"


async def test_what_is_delivered_again_is_a_duplicate(way: Way) -> None:
    batch = a_batch(message("a", 1), message("b", 1), message("a", 2, humidity=-1))
    await way.take(batch)
    for again in (batch, replace(batch, may_repeat=True)):
        receipt = await way.take(again)
        assert (receipt.way, receipt.duplicates) == ("staging", 3)
        assert (receipt.accepted["sensor_readings"], receipt.rejected) == (0, 0)
    assert await way.value("SELECT count(*) FROM sensor_readings") == 2
    assert await way.value("SELECT count(*) FROM rejected") == 1


async def test_what_may_repeat_and_does_not_is_copied_like_any_other(way: Way) -> None:
    """After a reconnect everything may have come before; most of it has not."""
    await way.take(a_batch(("sensors/a/readings", b"not json"), message("z", 59)))
    batch = a_batch(*(message("a", second) for second in range(5)), may_repeat=True)
    assert (await way.take(batch)).way == "fast"
    new = message("a", 6)
    again = replace(batch, messages=pl.concat([batch.messages, a_batch(new).messages]))
    receipt = await way.take(again)
    assert (receipt.way, receipt.duplicates, receipt.accepted["sensor_readings"]) == ("staging", 5, 1)
    assert await way.value("SELECT count(*) FROM sensor_readings") == 7


async def test_a_repeat_that_no_look_finds_is_found_by_its_key(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "LOOKED_AT", 1)  # the first row alone
    await way.take(a_batch(message("b", 1)))
    receipt = await way.take(a_batch(message("a", 1), message("b", 1), may_repeat=True))
    assert (receipt.way, receipt.duplicates, receipt.accepted["sensor_readings"]) == ("staging", 1, 1)


async def test_the_same_rejected_bytes_twice_in_a_batch_are_one_record(way: Way) -> None:
    bad = ("sensors/a/readings", b"not json")
    receipt = await way.take(a_batch(bad, message("a", 1), bad))
    assert (receipt.read, receipt.rejected, receipt.duplicates) == (3, 1, 1)
    assert await way.value("SELECT array_agg(sequence) FROM rejected") == [0]


async def test_a_key_that_returns_with_other_values_is_a_conflict(way: Way) -> None:
    await way.take(a_batch(message("a", 1)))
    receipt = await way.take(a_batch(message("a", 1, temperature=21.0), message("a", 2)))
    assert (receipt.accepted["sensor_readings"], receipt.rejected) == (1, 1)
    assert await way.value("SELECT rules FROM rejected") == ["key.conflict"]
    assert '"timestamp":"2026-11-21T00:00:0' in await way.value("SELECT key FROM rejected")
    assert (
        await way.value(
            "SELECT temperature FROM sensor_readings WHERE \"timestamp\" < '2026-11-21 00:00:02Z'"
        )
        == 20.5
    )


async def test_a_verdict_never_flips_when_the_contract_changes(way: Way) -> None:
    batch = a_batch(message("a", 1, temperature=60), message("a", 2, temperature=200), may_repeat=True)
    await way.take(batch)
    tight = _with_maximum(CONTRACT, 50.0)
    wide = _with_maximum(CONTRACT, 500.0)
    for contract in (tight, wide):
        receipt = await way.take(batch, contract)
        assert (receipt.accepted["sensor_readings"], receipt.rejected, receipt.duplicates) == (0, 0, 2)


async def test_a_reading_that_came_too_early_stays_rejected_when_its_time_has_come(way: Way) -> None:
    early = message("a", 0, timestamp="2026-11-22T01:00:08Z")
    first = await way.take(a_batch(early, message("a", 1)))
    assert (first.rejected, first.way) == (1, "fast")
    later = {"received_at": NOW + timedelta(seconds=13), "received_until": NOW + timedelta(seconds=13)}
    again = await way.take(replace(a_batch(early, message("a", 2)), **later))
    assert (again.way, again.duplicates, again.accepted["sensor_readings"]) == ("staging", 1, 1)
    other = await way.take(replace(a_batch(message("b", 0, timestamp="2026-11-22T01:00:08Z")), **later))
    assert (other.way, other.accepted["sensor_readings"]) == ("fast", 1)
    assert await way.value("SELECT rules FROM rejected WHERE resolved_by IS NULL") == ["timestamp.furthest"]


async def test_a_record_of_a_file_that_came_too_early_stays_rejected_wherever_in_the_file_it_is(
    way: Way,
) -> None:
    """Its location is its own line's, not the part's it came in."""
    rows = [reading for _, reading in (message("a", 1), message("a", 0, timestamp="2026-11-22T01:00:08Z"))]
    chunk = pl.DataFrame([("x.ndjson:1", b"\n".join(rows))], schema=MESSAGE_SCHEMA, orient="row")
    batch = replace(a_batch(), messages=chunk, layout=Layout(format=Format.NDJSON), dataset="file:x")
    first = await way.take(batch)
    assert (first.accepted["sensor_readings"], first.rejected) == (1, 1)
    other = b"\n".join([message("b", 1)[1], rows[1]])  # the same bytes on the same line, by another part
    chunk = pl.DataFrame([("x.ndjson:1", other)], schema=MESSAGE_SCHEMA, orient="row")
    later = NOW + timedelta(days=2)
    again = await way.take(replace(batch, messages=chunk, received_at=later, received_until=later))
    assert (again.way, again.accepted["sensor_readings"], again.duplicates) == ("staging", 1, 1)


async def test_a_key_longer_than_an_index_holds_is_the_datas_fault(way: Way) -> None:
    """So that the batch is halved to the one record, and the others are stored."""
    columns = tuple(
        column.model_copy(update={"max_length": None}) if column.name == "device_id" else column
        for column in CONTRACT.columns
    )
    device = token_hex(5_000)
    batch = a_batch(message("a", 1), message(device, 2))
    with pytest.raises(DataError, match="index"):
        await way.take(batch, CONTRACT.model_copy(update={"columns": columns}))


async def test_a_topic_longer_than_an_index_holds_is_rejected_and_known_again(way: Way) -> None:
    """65,535 bytes are allowed; random ones, since others are stored compressed."""
    topic = f"sensors/{token_hex(3_000)}/readings"
    batch = a_batch((topic, b"{"))
    assert (await way.take(batch)).rejected == 1
    again = await way.take(replace(batch, may_repeat=True))
    assert (again.rejected, again.duplicates) == (0, 1)


def _with_maximum(contract: Contract, maximum: float) -> Contract:
    columns = tuple(
        column.model_copy(update={"maximum": maximum}) if column.name == "temperature" else column
        for column in contract.columns
    )
    return contract.model_copy(update={"columns": columns})


async def test_a_lost_answer_to_commit_is_looked_up_not_tried_again(way: Way) -> None:
    batch = a_batch(message("a", 1), may_repeat=False)
    refined = records.refine(batch, REFERENCE, Decoder(CONTRACT), topics_of(batch), steps_of(CONTRACT))
    prepared = prepare(batch, refined, way.plan)
    first = await load(way.store, way.plan, prepared)
    way.store.discard()  # as if the connection had broken before the answer came
    assert await load(way.store, way.plan, prepared) == first
    assert await way.value("SELECT count(*) FROM ledger") == 1


async def test_the_chain_of_a_writer_can_be_computed_again(way: Way) -> None:
    for second in range(3):
        await way.take(a_batch(message("a", second), message("b", second, pressure=1)))
    head, rows = FIRST_HEAD, await way.pool.fetch("SELECT * FROM lineage_log ORDER BY writer, number")
    for number, row in enumerate(rows, start=1):
        entry = entry_of(row)
        assert entry.number == number
        head = chain(head, canonical(entry.writer, entry.number, entry.batch, entry.edge))
        assert entry.hash == head
    assert await way.value("SELECT chain_head FROM ledger ORDER BY batch DESC LIMIT 1") == head


async def test_the_record_is_append_only(way: Way) -> None:
    await way.take(a_batch(message("a", 1)))
    for table in ("lineage_log", "ledger", "ledger_outputs"):
        for change in ("DELETE FROM store.{}", "UPDATE store.{} SET batch = 0", "TRUNCATE store.{}"):
            with pytest.raises(Exception, match="append-only"):
                await way.pool.execute(change.format(table))


async def test_the_graph_is_the_projection_of_the_log_and_can_be_rebuilt(
    postgres_dsn: str, graph: Address
) -> None:
    async with a_way(postgres_dsn) as way, open_graph(endpoint_of(graph)) as bolt:
        for second in range(3):
            await way.take(a_batch(message("a", second), message("b", second, pressure=1)))
        await graphs.migrate(bolt)
        connection = await connect(postgres_dsn, application="test")
        while (await relay.carry(connection, bolt)).entries:
            pass
        entries = [entry_of(row) for row in await connection.fetch("SELECT * FROM lineage_log")]
        expected = await of_log(connection)
        assert digest(await in_graph(bolt)) == digest(expected)
        await graphs.write(bolt, expected)  # carried twice, nothing changes
        assert digest(await in_graph(bolt)) == digest(expected)
        await graphs.clear(bolt)
        assert not (await in_graph(bolt)).nodes
        assert await relay.rebuild(connection, bolt) == len(entries)
        assert digest(await in_graph(bolt)) == digest(expected)
        assert (await relay.lag(connection)).entries == 0
        await connection.close()
