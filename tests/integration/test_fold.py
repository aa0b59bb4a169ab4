"""Folds: old batches become days, and no answer between datasets or columns changes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from console.asked import whole_graph as graph_flow
from flows.acts import folds
from flows.acts.proof import prove
from infra.local.addresses import Address
from infra.settings import load
from lineage import graph as graphs
from lineage import relay
from lineage.audit import ask, find
from lineage.fold import fold_next_day
from lineage.model import NodeKind, Run, Transformation
from lineage.projection import digest
from lineage.recorder import record
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house, furnish

NOW = datetime.now(UTC)
RUN = Run(id=uuid4(), kind="flow", name="folds", started_at=NOW)
COUNTED = ("datasets", "freshness", "rejected", "column-downstream")
"""What a day's node answers for its batches."""
BY_DATASET = ("path", "column-upstream", "sinks", "cycles")


async def age(house: House, batches: str, days: int) -> None:
    """As if these commits had been made days ago; only the ledger's time decides about a fold's day."""
    await house.connection.execute("SET session_replication_role = replica")
    await house.connection.execute(
        f"UPDATE store.ledger SET processed_at = processed_at - interval '{days} days' WHERE batch {batches}"
    )
    await house.connection.execute("SET session_replication_role = origin")


async def fold_all(house: House, until: datetime) -> list[str]:
    days = []
    while day := await fold_next_day(house.connection, RUN, until):
        days.append(day)
    return days


async def answers(house: House) -> dict[str, object]:
    """What is asked of datasets and columns."""
    given = {
        "key": "postgres:sensor_readings",
        "column": "postgres:sensor_readings.temperature",
        "source": "mqtt:sensors/+/readings",
        "target": "postgres:sensor_readings",
    }
    found: dict[str, object] = {}
    for name in (*BY_DATASET, "upstream", "downstream", *COUNTED):
        audit = find(name)
        values = {each.name: given[each.name] for each in audit.parameters if each.name in given}
        found[name] = sorted(map(str, (await ask(house.graph, audit, values)).rows))
    return found


async def test_a_fold_changes_no_answer_about_datasets(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        batches = await house.connection.fetchval("SELECT count(*) FROM ledger")
        await relay.catch_up(house.connection, house.graph)
        await age(house, "<= 2", 3)
        await age(house, "= 3", 2)
        before = await answers(house)
        many = [kind for kind, _ in (await in_graph(house.graph)).nodes].count(NodeKind.BATCH)
        assert "('mqtt:sensors/+/readings', 2, 3)" in before["rejected"]  # type: ignore[operator]
        days = await fold_all(house, NOW - timedelta(days=1))
        assert days == [f"{NOW - timedelta(days=ago):%Y-%m-%d}" for ago in (3, 2)]
        assert await fold_all(house, NOW - timedelta(days=1)) == []
        await relay.catch_up(house.connection, house.graph)
        elements = await in_graph(house.graph)
        keys = {key for kind, key in elements.nodes if kind == "Batch"}
        assert f"postgres:sensor_readings#day:{days[0]}" in keys
        assert "postgres:sensor_readings#1" not in keys
        assert any(key.endswith(f"#{batches}") for key in keys)  # today's stay as they are
        assert len(keys) < many
        assert await answers(house) == before
        assert digest(elements) == digest(await of_log(house.connection))


async def test_what_names_a_folded_batch_later_names_its_day(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await age(house, "<= 3", 2)
        await fold_all(house, NOW - timedelta(days=1))
        await house.way.take(a_batch(message("late", 1)))
        carried = await relay.catch_up(house.connection, house.graph)  # batches and their fold in one seal
        assert carried > 0
        assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))
        first = digest(await in_graph(house.graph))
        await relay.rebuild(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == first


async def test_proofs_hold_across_folds(postgres_dsn: str, graph: Address) -> None:
    """Everything but the ledger's time, which this test itself has to change."""
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        clean = await house.prove()
        assert clean.ok
        tomorrow = datetime.now(UTC) + timedelta(days=2)
        days = await fold_all(house, tomorrow)
        assert len(days) == 2  # today, and tomorrow without a batch
        proof = await house.prove()
        assert proof.differences == ()
        await house.way.take(a_batch(message("more", 1)))
        await graphs.clear(house.graph)
        await relay.rebuild(house.connection, house.graph)
        assert (await house.prove()).differences == ()
        await house.in_graph("MATCH (b:Batch {day: '" + days[0] + "'}) SET b.rows = 7")
        assert not (await house.prove()).ok


async def test_a_relay_that_dies_while_it_folds_goes_on(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await relay.catch_up(house.connection, house.graph)
        await fold_all(house, datetime.now(UTC) + timedelta(days=1))
        await relay.seal_all(house.connection)

        class Dies:
            """A graph whose client dies at the first batch that is deleted."""

            def __getattr__(self, name: str) -> object:
                return getattr(house.graph, name)

            async def write(self, statements: list[tuple[str, dict[str, object]]]) -> None:
                await house.graph.write(statements)
                if "DETACH" in statements[0][0]:
                    raise KeyboardInterrupt

        try:
            await relay.catch_up(house.connection, Dies())  # type: ignore[arg-type]
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("nothing was folded")
        await house.connection.execute("SELECT pg_advisory_unlock_all()")
        await relay.catch_up(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))


async def test_the_flow_folds_after_the_time_of_the_settings_and_every_answer_stays(
    postgres_dsn: str, graph: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in graph_settings(graph).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    monkeypatch.setenv("HEADWATER_FOLD_AFTER", "2d")
    settings = load()
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        assert (await prove(settings, SHIPPED, full=True)).differences == ()
        before, days = await answers(house), {f"{midnight + timedelta(days=day):%Y-%m-%d}" for day in (0, 1)}
        soon = midnight + timedelta(days=2, hours=23)
        assert await folds.fold(settings, RUN, soon) == []  # today ended less than two days before
        folded = await folds.fold(settings, RUN, soon + timedelta(hours=2))
        assert set(folded) <= days
        assert folded
        assert (await prove(settings, SHIPPED, full=True)).differences == ()
        keys = {key for kind, key in (await in_graph(house.graph)).nodes if kind == "Batch"}
        assert f"postgres:sensor_readings#day:{folded[0]}" in keys
        assert await answers(house) == before
        assert await graph_flow.rebuild(settings) == await house.way.value("SELECT count(*) FROM lineage_log")
        assert await answers(house) == before
        assert (await prove(settings, SHIPPED, full=True)).differences == ()


async def test_as_of_a_time_within_a_folded_day_the_day_is_named(postgres_dsn: str, graph: Address) -> None:
    """And a day without a commit is no orphan; what a flow only read makes no batch of a day."""
    async with a_house(postgres_dsn, graph) as house:
        await house.way.take(a_batch(message("a", 1)))
        await relay.catch_up(house.connection, house.graph)
        first = datetime.now(UTC)
        await house.way.take(a_batch(message("a", 2)))
        async with record(house.connection, Transformation(name="report", version="1")) as lineage:
            lineage.feeds("postgres:sensor_readings", "file:report.pdf")
        await relay.catch_up(house.connection, house.graph)
        names, stored = ("freshness", "datasets"), "postgres:sensor_readings"

        async def rows(name: str, **when: datetime) -> list[object]:
            answer = await ask(house.graph, find(name), **when)
            return next(list(row) for row in answer.rows if row[0] == stored)

        before = {name: (await rows(name), await rows(name, known_at=first)) for name in names}
        await age(house, "<= 3", 3)
        days = await fold_all(house, NOW - timedelta(days=1))
        assert len(days) == 2  # the second without a commit
        await relay.catch_up(house.connection, house.graph)
        for name in names:
            assert await rows(name) == before[name][0]
            within = await rows(name, known_at=first)
            assert (within[0], within[-1]) == (stored, days[0])
            assert before[name][1][-1] is None
        assert (await ask(house.graph, find("orphans"))).rows == ()
