"""Rows made again from their messages: whether stored values come of the kept bytes by the code named.

    raw batch ─refine (ingestion's own)─▶ rows as their commit stores them ─differing─▶ what is stored of it

Only a batch whose code, contract and pipeline are those of today, for that is the code that is here. One
batch is in memory at a time. What cannot be made again exactly is left out and counted, with why.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import polars as pl

from infra.postgres import Connection, Row
from lineage import naming, query_files
from lineage.columns import Kind, Subtype
from lineage.counted import counted
from lineage.errors import TransformError
from lineage.identifiers import listed, stored_table
from lineage.keys import NO_KEYS
from lineage.proof.batches import windows
from lineage.proof.findings import Findings
from lineage.proof.from_bytes import CHECK, FromBytes
from lineage.proof.look import unreadable
from lineage.proof.proving import Progress
from tasks.again.accounted import unaccounted
from tasks.again.at_issue import places_of, refine_without
from tasks.again.differing import FAILED, judged_again, place, unlike_values
from tasks.again.filtered_again import FilteredAgain
from tasks.again.reread import CurrentPipeline
from tasks.batch import PLACE_SCHEMA, RawBatch, ReferenceState, Refined
from tasks.contract import Contract
from tasks.load.commit import as_stored
from tasks.load.plan import Commit
from tasks.load.raw import StoredRaw, read_raw
from tasks.load.readers import reader_of
from tasks.load.reference import batch_of, state_of
from tasks.load.rejected import contract_versions, identities_in
from tasks.load.row_id import ROW, without
from tasks.tables.tables import carried, digested_columns

Maker: TypeAlias = Callable[[str, str], CurrentPipeline | str]
"""(dataset, transformation id) → the pipeline whose code of today bears that id; or why there is none."""

_BATCHES = """
SELECT l.*, EXISTS (SELECT FROM store.raw_batches b WHERE b.batch = coalesce(l.raw_batch, l.batch)) AS kept
FROM store.ledger l WHERE l.batch >= $1 AND l.batch < $2 AND (raw_digest IS NOT NULL OR raw_batch IS NOT NULL)
ORDER BY l.batch
"""
_WITHOUT_MESSAGES = """
SELECT way, count(*) AS batches FROM store.ledger
WHERE batch >= $1 AND raw_digest IS NULL AND raw_batch IS NULL GROUP BY way
"""
_TABLES_OF_MESSAGES = """
SELECT DISTINCT o.table_name FROM store.ledger_outputs o JOIN store.ledger l USING (batch)
WHERE bucket IS NULL AND (raw_digest IS NOT NULL OR raw_batch IS NOT NULL) ORDER BY 1
"""
# The records whose verdict, as it stands, is of this batch: the first one, or the last of a replay.
_JUDGED = query_files.read(__package__, "judged_in_batch.sql")
_MAKES_A_VALUE: Final = frozenset({Subtype.CONDITIONAL, Subtype.WINDOW, Subtype.GROUP_BY})
"""Besides what is direct; a join on a key, a filter and an order decide which rows there are."""


async def make_again(
    maker: Maker, progress: Progress, connection: Connection, first: int, findings: Findings
) -> FromBytes:
    """Every batch of messages from number `first` on; its differences are added to the findings."""
    done, states = FromBytes(), _States()
    for row in await connection.fetch(_WITHOUT_MESSAGES, first):
        done.pass_over(f"they were made of no messages ({row['way']})", row["batches"])
    for (table,) in await connection.fetch(_TABLES_OF_MESSAGES):
        with unreadable(findings, CHECK, f"{CHECK}, {table}"):
            async with connection.transaction():
                findings.add(CHECK, await _of_no_messages(connection, table, first))
    async for window in windows(connection, first):
        for row in await connection.fetch(_BATCHES, *window):
            with unreadable(findings, CHECK, f"{CHECK}, batch {row['batch']}"):
                async with connection.transaction():
                    findings.add(CHECK, await _differences(maker, connection, row, states, done))
            progress("batches made again", done.batches)
    return done


async def _of_no_messages(connection: Connection, table: str, first: int) -> list[str]:
    """Rows of a table that messages fill, in batches that read none."""
    both = " UNION ALL ".join(f"SELECT batch FROM {stored_table(name)}" for name in _both(table))
    rows = await connection.fetch(
        f'SELECT batch, count(*) AS rows FROM ({both}) "each row" JOIN store.ledger l USING (batch) '
        "WHERE batch >= $1 AND raw_digest IS NULL AND raw_batch IS NULL GROUP BY batch ORDER BY batch",
        first,
    )
    return [
        f"{table}, batch {row['batch']}: {counted(row['rows'], 'row')} of a batch that read no message"
        for row in rows
    ]


@dataclass(slots=True)
class _States:
    """Reference tables as they were when batches were looked up in them; the last state of each is kept."""

    _known: dict[str, ReferenceState] = field(default_factory=dict)

    async def of(
        self, connection: Connection, looked_up: str | None, current: CurrentPipeline
    ) -> CurrentPipeline | str:
        """The pipeline with the states that a batch names; or why it has none."""
        said = json.loads(looked_up) if looked_up else {}
        for table, contract in current.looks_up.items():
            name = said.get(naming.postgres(table))
            if name is None:
                return f"in which state of {naming.postgres(table)} their values were looked up is not known"
            if table not in self._known or self._known[table].said != name:
                self._known[table] = await state_of(connection, contract, batch_of(name))
        tables = {table: self._known[table] for table in current.looks_up}
        return replace(current, reference=replace(current.reference, tables=tables))


async def _differences(
    maker: Maker, connection: Connection, row: Row, states: _States, done: FromBytes
) -> list[str]:
    current = maker(row["dataset"], row["transformation_id"])
    if isinstance(current, str):
        done.pass_over(current)
        return []
    if not row["kept"]:
        done.pass_over("their messages are not stored")
        return []
    raw = await read_raw(connection, row["batch"] if row["raw_batch"] is None else row["raw_batch"])
    readable = raw.batch.messages["payload"].is_not_null()
    alone = current.row_local and raw.batch.layout is None
    if not readable.all() and not (alone and readable.any()):
        done.pass_over("bytes that they were made of are erased")
        return []
    commit = await _as_it_was(connection, row, current, raw)
    current = await _standing_then(connection, row["batch"], current)
    if isinstance(current := await states.of(connection, row["looked_up"], current), str):
        done.pass_over(current)
        return []
    return await _Again(row, current, raw, readable, commit, done).differences()


async def _standing_then(connection: Connection, batch: int, current: CurrentPipeline) -> CurrentPipeline:
    """The pipeline with the rows that stood when the batch was committed, as far as it concluded from them.

    Those are the rows that the concluded ones replaced, in the order in which these are numbered.
    """
    if not current.concludes_from:
        return current
    frames = dict(current.reference.frames)
    for frame, table in current.concludes_from.items():
        contract = current.plan.contracts[table]
        both = (
            f"SELECT {listed(contract.key)}, batch, part FROM {stored_table(name)}" for name in _both(table)
        )
        rows = await connection.fetch(
            f"SELECT {listed(contract.names)} FROM {stored_table(f'{table}_history')} "
            f'JOIN ({" UNION ALL ".join(both)}) "by whom" ({listed(contract.key)}, "its batch", "its part") '
            f'USING ({listed(contract.key)}) WHERE replaced_by = $1 AND "its batch" = $1 AND "its part" < 0 '
            'ORDER BY "its part" DESC',
            batch,
        )
        frames[frame] = pl.DataFrame([tuple(row) for row in rows], schema=contract.row_schema, orient="row")
    return replace(current, reference=replace(current.reference, frames=frames))


def _both(table: str) -> tuple[str, str]:
    """Where rows of a table are: those that stand, and those that were replaced."""
    return table, f"{table}_history"


async def _as_it_was(connection: Connection, row: Row, current: CurrentPipeline, raw: StoredRaw) -> Commit:
    """The commit that wrote the batch, as far as its rows depend on it."""
    plan = replace(current.plan, pipeline=row["pipeline"] or current.plan.pipeline)
    return Commit(
        connection=connection,
        number=row["batch"],
        at=row["processed_at"],
        plan=plan,
        keys=NO_KEYS,
        batch=raw.batch,
        digests=raw.digests,
        raw_batch=row["raw_batch"],
        reader=await reader_of(connection, {}, plan, raw.batch.dataset),
    )


@dataclass(frozen=True, slots=True)
class _Again:
    """One batch that is made again."""

    row: Row  # of the ledger
    current: CurrentPipeline
    raw: StoredRaw
    readable: pl.Series  # whether each message has its bytes (n)
    commit: Commit
    done: FromBytes

    async def differences(self) -> list[str]:
        stored = {table: await self._stored(each) for table, each in self.commit.plan.contracts.items()}
        judged = [dict(row) for row in await self.commit.connection.fetch(_JUDGED, self.commit.number)]
        try:
            refined = await refine_without(self.current, self.raw.batch, self._erased)
        except TransformError as error:
            return self._failed(error, stored, judged)
        unlike = self._looked_up_otherwise(refined)
        if hidden := unlike.keys() - self._named():
            why = ", ".join(f"{dataset} {unlike[dataset]}" for dataset in sorted(hidden))
            self.done.pass_over(f"their transform may look up any value, and {why}")
            return []
        self.done.batches += 1
        self.done.erased += int((~self.readable).sum())
        made = await self._made(refined, stored)
        found = [each for table, rows in stored.items() for each in self._unlike(table, rows, made, unlike)]
        found += self._unlike_verdicts(refined, judged)
        found += await self._unlike_filtered(refined, stored)
        if self.row["way"] != "replay":  # which judges what waits, and no other record
            found += await self._unaccounted(refined, stored)
        return found

    async def _stored(self, contract: Contract) -> pl.DataFrame:
        """The rows that the batch stored and whose messages can be read, standing or in the history."""
        columns = listed(digested_columns(contract))
        each = (
            f"SELECT {columns} FROM {stored_table(name)} WHERE batch = $1" for name in _both(contract.table)
        )
        rows = await self.commit.connection.fetch(" UNION ALL ".join(each), self.commit.number)
        schema = {**contract.row_schema, **carried(contract)}
        frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row").sort(ROW)
        return frame.filter(~pl.col("sequence").is_in(self._erased["sequence"].implode()))

    @property
    def _erased(self) -> pl.DataFrame:
        return pl.DataFrame({"sequence": (~self.readable).arg_true(), "part": None}, schema=PLACE_SCHEMA)

    def _looked_up_otherwise(self, refined: Refined) -> Mapping[str, str]:
        """Dataset that values are looked up in → why it cannot be said that it is what it was."""
        then, now = self.row["looked_up"], refined.looked_up or {}
        if then is None:
            return dict.fromkeys(now, "as it was then is not known")
        known = json.loads(then)
        return {name: "is not what it was" for name, state in now.items() if known.get(name) != state}

    def _named(self) -> set[str]:
        """The datasets of which the lineage of columns says what is made of them."""
        columns = self.commit.plan.columns(self.raw.batch.dataset)
        return {edge.source_dataset for edges in columns.values() for edge in edges if not edge.opaque}

    def _derived(self, table: str, datasets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The columns whose values are made of one of these datasets, and of which."""
        edges = self.commit.plan.columns(self.raw.batch.dataset).get(table, ())
        for edge in edges:
            direct = edge.kind is Kind.DIRECT and edge.source_column is not None
            if edge.source_dataset in datasets and (direct or edge.subtype in _MAKES_A_VALUE):
                yield edge.target_column, edge.source_dataset

    async def _made(self, refined: Refined, stored: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        """Every row that the messages make; those too whose key another record of the batch has now.

        The other one was not judged beside it then: a replay and a reprocess leave records aside.
        """
        made = self._rows(refined)
        absent = pl.concat([without(rows, made[table]).select(ROW) for table, rows in stored.items()])
        last = self.raw.batch.messages.height - 1
        absent = absent.filter(pl.col("sequence").is_between(0, last)).unique()
        if absent.is_empty():
            return made
        others = _every_place(self.raw.batch, self.current, refined).pipe(without, absent)
        left_out = pl.concat([self._erased, others]).unique()
        alone = self._rows(await refine_without(self.current, self.raw.batch, left_out))
        return {table: pl.concat([rows, without(alone[table], rows)]) for table, rows in made.items()}

    def _rows(self, refined: Refined) -> dict[str, pl.DataFrame]:
        rows = as_stored(self.commit, refined).accepted
        schemas = {
            table: {**contract.row_schema, **carried(contract)}
            for table, contract in self.commit.plan.contracts.items()
        }
        return {table: rows.get(table, pl.DataFrame(schema=schema)) for table, schema in schemas.items()}

    def _unlike(
        self,
        table: str,
        stored: pl.DataFrame,
        made: Mapping[str, pl.DataFrame],
        unlike: Mapping[str, str],
    ) -> Iterator[str]:
        """The rows of one table that differ, value by value."""
        number = self.commit.number
        absent = without(stored, made[table])
        for at in absent.select(ROW).iter_rows():
            yield f"{place(table, number, *at)}: a row is stored, and its message makes no such row"
        for at in stored.filter(stored.select(ROW).is_duplicated()).select(ROW).unique().iter_rows():
            yield f"{place(table, number, *at)}: more than one row is stored, and its message makes one"
        derived = dict(self._derived(table, unlike))
        compared = [name for name in stored.columns if name not in (*derived, *ROW)]
        yield from unlike_values(table, number, stored, made[table], compared)
        rows = stored.height - absent.height
        self.done.rows += rows
        self.done.values += rows * len(compared)
        for column, dataset in derived.items() if rows else ():
            self.done.leave_out(f"{table}.{column}: {dataset} {unlike[dataset]}", rows)

    def _unlike_verdicts(self, refined: Refined, judged: list[dict[str, Any]]) -> list[str]:
        """What was said of rejected records against what is said of them again."""
        erased = set(self._erased["sequence"])
        here, elsewhere = list[dict[str, Any]](), list[dict[str, Any]]()
        for record in judged:
            raw_batch = record["batch"] if record["raw_batch"] is None else record["raw_batch"]
            (here if raw_batch == self.raw.number else elsewhere).append(record)
        met = self._met(elsewhere, refined)
        again = refined.rejected.with_columns(contract_versions(self.commit))
        readable = [each for each in (*here, *met) if each["sequence"] not in erased]
        found = judged_again(self.commit.number, readable, again)
        self.done.rejected += found.compared
        self.done.apart += found.apart
        if strays := len(elsewhere) - len(met):
            said = f"{counted(strays, 'rejected record')} of other batches, which its messages do not hold"
            found.differences.append(
                f"rejected, batch {self.commit.number}: it is said to have judged {said}"
            )
        return found.differences

    def _met(self, records: list[dict[str, Any]], refined: Refined) -> list[dict[str, Any]]:
        """Records that are said to stand in other batches, at their place in this one, if they came too."""
        if not records:
            return []
        places = _every_place(self.raw.batch, self.current, refined)
        ids = identities_in(self.raw.batch, self.raw.digests, places, self.commit.reader)
        at = dict(zip(ids, places.iter_rows(named=True), strict=True))
        return [record | at[record["identity"]] for record in records if record["identity"] in at]

    async def _unlike_filtered(self, refined: Refined, stored: Mapping[str, pl.DataFrame]) -> list[str]:
        """What is stored as filtered against what a step leaves out again, and how many are in the ledger."""
        again = FilteredAgain(self.commit, refined, stored)
        erased = set(self._erased["sequence"])
        found, self.done.filtered = await again.differences(erased), self.done.filtered + again.compared
        if self.row["raw_batch"] is None and not erased:  # what is judged again are some of the records
            found += await again.miscounted(self.row["filtered"])
        return found

    def _failed(
        self, error: TransformError, stored: Mapping[str, pl.DataFrame], judged: list[dict[str, Any]]
    ) -> list[str]:
        """Nothing can be made again: right only where that is what is said of the one record there is."""
        self.done.batches += 1
        if judged and not any(map(len, stored.values())) and all(r["rules"] == [FAILED] for r in judged):
            self.done.rejected += len(judged)
            return []
        return [f"{CHECK}, batch {self.commit.number}: today the transform fails on its messages: {error}"]

    async def _unaccounted(self, refined: Refined, stored: Mapping[str, pl.DataFrame]) -> list[str]:
        found = await unaccounted(self.commit, self.raw, refined, stored)
        return [
            f"{place(what, self.commit.number, *at)}: its message makes it again, and it is not stored, "
            "rejected or a duplicate"
            for what, at in found
        ]


def _every_place(batch: RawBatch, current: CurrentPipeline, refined: Refined) -> pl.DataFrame:
    """Where records of the batch stand (PLACE_SCHEMA, n), those too that only said what another one says."""
    last = batch.messages.height - 1
    if batch.layout is not None:
        parts = pl.int_range(refined.read, dtype=pl.Int32, eager=True)
        return pl.DataFrame({"part": parts}).select(sequence=pl.lit(last, pl.Int32), part="part")
    if current.row_local:
        sequences = pl.int_range(last + 1, dtype=pl.Int32, eager=True)
        return pl.DataFrame({"sequence": sequences, "part": None}, schema=PLACE_SCHEMA)
    return places_of(refined)
