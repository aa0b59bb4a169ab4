"""From the raw answers of a robot about a run to `experiments` and `experiment_steps`.

    answers ─robot_pages─▶ records ─robot_records─▶ cells ─reading rules─▶ values ─derive─▶ made ─judge─▶ rows
       └──robot_facts, robot_deck─▶ what Python knows of them, and of the deck ───────┘          open ─▶ lost

What is read of a record, and whether it is good, is settled as for every other record (`judge.py`). Of a
robot are its pages in front of that, and what is derived of the values (`robot_derived.py`).

Everything in a row comes from the batch itself, so `input_hash` covers every column but `source_name`: a
running command that has ended, or a pipette whose name came with a later fetch, is a newer observation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from lineage.errors import ContractError
from tasks.batch import ORIGIN_SCHEMA, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.decode import cells
from tasks.transform import keys, reading_rules, robot_deck, robot_facts, robot_records
from tasks.transform.columns import ANY_TIME, Columns, edges_of
from tasks.transform.judge import Judged, judge, plan, plan_of_values, refined
from tasks.transform.lost_steps import OPEN_STEPS, lost_steps
from tasks.transform.robot_derived import (
    DERIVED,
    RUNS,
    SOURCE_NAME,
    STEPS,
    created_at,
    derive_experiments,
    derive_steps,
)
from tasks.transform.robot_facts import OWNER
from tasks.transform.robot_pages import Pages, read_pages, refused
from tasks.transform.robot_paths import frame_of, value_of
from tasks.transform.robot_records import RobotRecords
from tasks.transform.validate import Rule, fill_defaults, rules_of_derived_key

_OF_ANOTHER = Rule(
    "experiment_id.location",
    pl.col("experiment_id") != pl.col(OWNER),
    "experiment_id is not the one in the address it came from",
)


def check(contracts: Mapping[str, Contract]) -> None:
    """Raise ContractError where the tables want what is not made of a robot's runs."""
    for contract in contracts.values():
        if contract.is_reference:
            raise ContractError(f"{contract.table}: a robot's runs have a time: name the table's `time`.")
        for name in contract.derived:
            if name not in DERIVED.get(contract.table, (name,)):
                known = ", ".join(DERIVED[contract.table])
                raise ContractError(
                    f"{contract.table}: {name} cannot be derived of a robot's runs, only {known}: "
                    "leave it out."
                )


def refine(
    batch: RawBatch, reference: Reference, contracts: Mapping[str, Contract], source_name: str
) -> Refined:
    """Refine the answers about one or more runs; `contracts` holds `experiments` and `experiment_steps`.

    A run that is still going, failed, was stopped or lost its data in a restart is an ordinary row. The steps
    that `reference` says are open close with a run that ended without them (`lost_steps`). Of a command that
    stands in two pages the one that was seen last counts.
    """
    pages = read_pages(batch.messages)
    runs, steps = contracts[RUNS], contracts[STEPS]
    of_runs, of_steps = robot_records.read(pages.runs, runs), robot_records.read(pages.commands, steps)
    made_runs = derive_experiments(
        _values(of_runs, batch, runs, robot_facts.of_runs(pages, batch)).lazy(),
        robot_facts.protocols(pages).lazy(),
        source_name,
    ).collect()
    made_steps = derive_steps(
        _values(of_steps, batch, steps, robot_facts.of_steps(pages)).lazy(),
        created_at(made_runs.lazy()),
        robot_deck.pipettes_of(pages.runs).lazy(),
        robot_deck.labware_of(pages.runs).lazy(),
        source_name,
    ).collect()
    judged = [
        _judged(of_runs, made_runs, batch, runs, [_OF_ANOTHER]),
        _judged(of_steps, made_steps, batch, steps, []),
    ]
    experiments = _rows(judged[0].kept, runs)
    lost = _lost(reference, experiments, pages, batch, steps)
    accepted = {runs.table: experiments, steps.table: pl.concat([_rows(judged[1].kept, steps), lost])}
    done = refined(accepted, [Judged(rejected=refused(pages.unreadable, batch.left_out)), *judged])
    in_order = done.rejected.sort("sequence", "part", nulls_last=False, maintain_order=True)
    return replace(done, rejected=in_order)


def columns(contracts: Mapping[str, Contract], source: str, source_name: str) -> Columns:
    """What each column of both tables comes from, in the answers of `source` (a URI), by their JSON paths."""
    runs, steps = contracts[RUNS], contracts[STEPS]
    of_runs = _plan_of_values(runs, source, "runs.", robot_facts.OF_RUN)
    of_steps = _plan_of_values(steps, source, "commands.", robot_facts.OF_STEP)
    protocols, pipettes, labware = (
        frame_of(source, each) for each in (robot_facts.PROTOCOLS, robot_deck.PIPETTES, robot_deck.LABWARE)
    )
    made_runs = derive_experiments(of_runs, protocols, source_name)
    made_steps = derive_steps(of_steps, created_at(of_runs), pipettes, labware, source_name)
    good_steps = plan(made_steps, steps, rules=rules_of_derived_key(steps, ANY_TIME))
    return {
        runs.table: edges_of(plan(made_runs, runs, rules=[_OF_ANOTHER]), runs, source),
        steps.table: edges_of(good_steps, steps, source),
    }


def _plan_of_values(
    contract: Contract, source: str, prefix: str, facts: Mapping[str, Sequence[str]]
) -> pl.LazyFrame:
    """The plan of `_values`: as read, and what Python finds in these paths."""
    paths = dict.fromkeys((path for each in facts.values() for path in each), pl.String())
    values = plan_of_values(contract, source, prefix=prefix, more=paths)
    types = robot_facts.schema_of(facts)
    return values.with_columns(**{name: value_of(each, types[name]) for name, each in facts.items() if each})


def _values(records: RobotRecords, batch: RawBatch, contract: Contract, facts: pl.DataFrame) -> pl.DataFrame:
    """What was read of each record, in their order, with what is known of it beside (n)."""
    values = reading_rules.values(records.found.records, batch, contract, None).sort(cells.SEQUENCE)
    return values.hstack(facts[values[cells.SEQUENCE]])


def _judged(
    records: RobotRecords, made: pl.DataFrame, batch: RawBatch, contract: Contract, rules: Sequence[Rule]
) -> Judged:
    """The records that are read again now, each where it stands in the answers."""
    asked = [records.without(rows, batch.left_out) for rows in (made, records.found.undecodable)]
    found = replace(records.found, undecodable=asked[1])
    rules = [*rules, *rules_of_derived_key(contract, batch.received_at)]
    judged = judge(asked[0], found, batch, contract, rules=rules, seen=_seen(contract))
    return judged.at(records.in_answer)


def _seen(contract: Contract) -> Sequence[str]:
    """The derived columns that say what was seen of a robot."""
    return [name for name in contract.derived if name != SOURCE_NAME]


def _rows(kept: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The accepted rows in contract order, then where they came from."""
    schema = {**contract.row_schema, **ORIGIN_SCHEMA}
    return fill_defaults(kept, contract).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _lost(
    reference: Reference, experiments: pl.DataFrame, pages: Pages, batch: RawBatch, contract: Contract
) -> pl.DataFrame:
    """Rows of the open steps that a robot forgot: they are stored already, and no rule judges them again."""
    standing = reference.frames.get(OPEN_STEPS, contract.row_schema.to_frame())
    lost = lost_steps(standing, experiments, pages, batch.left_out)
    as_read = {cells.as_read(column.name): column.name for column in contract.inputs if column.conversion}
    lost = lost.with_columns(pl.col(name).alias(read) for read, name in as_read.items())
    return _rows(keys.hash_inputs(lost, contract, _seen(contract)), contract)
