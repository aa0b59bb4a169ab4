"""What the rules of before said of a robot's record stays said, now that every record has the same rules."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from infra.local.addresses import Address
from lineage import relay
from lineage.audit import ask, find
from lineage.model import Run, Transformation
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.load.commit import load
from tasks.load.prepare import prepare
from tasks.load.rejected import Refusal, as_rejected
from tests.fixtures.from_bytes import House, a_house
from tests.integration.test_replay_experiments import a_fetch

RUN = (
    "/runs/r1",
    b'{"data": {"id": "r1", "createdAt": "2026-11-21T00:00:00.000000+00:00", "status": "running", '
    b'"ok": true, "labware": [{"id": "l", "location": {"slotName": "2"}, '
    b'"offset": {"x": 0.0, "y": 1e-05, "z": 2.50}}]}}',
)
BOTH = (
    b'{"id": "both", "commandType": "aspirate", "status": "succeeded", '
    b'"startedAt": "2026-11-21T00:00:01.5+00:00", "params": {"volume": 5.0, "labwareId": "l", "far": 1e17}}'
)
EPOCH = (
    b'{"id": "epoch", "commandType": "home", "status": "succeeded", "startedAt": 1795219201, "params": {}}'
)
LARGE = (
    b'{"id": "large", "commandType": "comment", "status": "succeeded", '
    b'"params": {"message": 100000000000000000000000000000}}'
)
HUGE = b'{"id": "huge", "commandType": "aspirate", "status": "succeeded", "params": {"volume": 1e20}}'
RUN_HASH, BOTH_HASH, LARGE_HASH = 532888664025917405, 7122997148502858316, 1855043223425548581
"""Input hashes as the rules of before had them."""


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        yield house


def fetched(*commands: bytes, total: int = 4) -> RawBatch:
    page = b'{"data": [' + b", ".join(commands) + b'], "meta": {"cursor": 0, "totalLength": %d}}' % total
    return replace(a_fetch(RUN, ("/runs/r1/commands?cursor=0&pageLength=5", page)), may_repeat=True)


def refined(house: House, batch: RawBatch) -> Refined:
    return house.catalog.pipeline("experiments").refine()(batch, Reference(frames={}))


def as_before(house: House, batch: RawBatch) -> Refined:
    """As the rules of before judged BOTH, EPOCH, LARGE and HUGE: the second and the last were rejected."""
    contract = house.catalog.pipeline("experiments").contracts["experiment_steps"]
    today = refined(house, batch)
    steps = today.accepted["experiment_steps"]
    both = steps.filter(pl.col("step_id") == "both")
    large = both.with_columns(
        step_id=pl.lit("large"),
        params=pl.lit('{"message":100000000000000000000000000000}'),
        part=pl.lit(2, pl.Int32),
        input_hash=pl.lit(LARGE_HASH, pl.Int64),
    )
    said = {"epoch": "started_at.type", "huge": "volume_ul.range"}
    refused = [
        as_rejected(
            steps.filter(pl.col("step_id") == name),
            contract,
            Refusal(rule=rule, error_type=rule.split(".")[1], message="x"),
        ).with_columns(input_hash=pl.lit(None, pl.Int64), stage=pl.lit("validate"))
        for name, rule in said.items()
    ]
    accepted = {**today.accepted, "experiment_steps": pl.concat([both, large])}
    return replace(today, accepted=accepted, rejected=pl.concat(refused))


async def take_as_before(house: House, batch: RawBatch) -> Receipt:
    run = Run(id=uuid4(), kind="command", name="test", started_at=datetime.now(UTC))
    plan = house.catalog.pipeline("experiments").load_plan(run)
    plan = replace(plan, transformation=Transformation(name="experiments", version="before"))
    return await load(house.store, plan, prepare(batch, as_before(house, batch), plan))


def test_what_both_took_is_the_same_to_the_last_bit_of_its_hash(house: House) -> None:
    found = refined(house, fetched(BOTH, EPOCH, LARGE, HUGE)).accepted
    both = found["experiment_steps"].filter(pl.col("step_id") == "both")
    assert (found["experiments"]["input_hash"].item(), both["input_hash"].item()) == (RUN_HASH, BOTH_HASH)


async def test_the_audit_names_the_json_paths_that_a_column_is_read_from(house: House) -> None:
    await house.take(fetched(BOTH), "experiments")
    await relay.catch_up(house.connection, house.graph)

    async def paths(column: str) -> set[str]:
        answer = await ask(house.graph, find("column-upstream"), {"column": f"postgres:{column}"})
        at = answer.columns.index("direct")
        return {row[0].removeprefix("opentrons:bench/runs.") for row in answer.rows if row[at]}

    assert await paths("experiment_steps.pipette_name") == {"runs.pipettes.pipetteName"}
    assert await paths("experiment_steps.volume_ul") == {"commands.params.volume"}
    assert await paths("experiments.error_type") == {"runs.errors.errorType", "runs.dataError.id"}
    assert await paths("experiments.protocol_name") == {"protocols.metadata.protocolName"}


async def test_what_was_accepted_is_a_duplicate_and_what_was_rejected_stays_so(house: House) -> None:
    first = fetched(BOTH, EPOCH, LARGE, HUGE)
    today = refined(house, first)
    assert today.accepted["experiment_steps"]["step_id"].sort().to_list() == ["both", "epoch", "huge"]
    assert today.rejected["rules"].to_list() == [["params.json"]]
    before = await take_as_before(house, first)
    assert (dict(before.accepted), before.rejected) == ({"experiments": 1, "experiment_steps": 2}, 2)
    stood = await house.connection.fetch("SELECT * FROM store.experiment_steps ORDER BY step_id")
    again = await house.take(fetched(BOTH, EPOCH, LARGE, HUGE), "experiments")
    assert (again.read, again.duplicates, again.rejected, again.filtered) == (5, 5, 0, 0)
    assert await house.connection.fetch("SELECT * FROM store.experiment_steps ORDER BY step_id") == stood
    assert await house.value("SELECT count(*) FROM store.rejected") == 2
    assert await house.value("SELECT count(*) FROM store.experiment_steps_history") == 0
    longer = await house.take(fetched(BOTH, total=5), "experiments")
    assert (dict(longer.accepted), longer.duplicates) == ({"experiments": 1, "experiment_steps": 0}, 1)
    proof = await house.prove()
    assert proof.differences == ()
    await house.replay()
    steps = await house.connection.fetch("SELECT step_id FROM experiment_steps ORDER BY 1")
    assert [row["step_id"] for row in steps] == ["both", "epoch", "huge", "large"]
    assert (await house.prove()).differences == ()
