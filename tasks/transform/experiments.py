"""From the raw answers of a robot about a run to `experiments` and `experiment_steps`.

Reading and checking is done record by record (`robot_pages`, `record_rules`): a page holds a hundred records
and each may be broken in its own way. Durations and the names of labware and pipettes are Polars plans.

Everything in a row comes from the batch itself, so `input_hash` covers every column but `source_name`: a
running command that has ended, or a pipette whose name came with a later fetch, is a newer observation.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from lineage.columns import named
from tasks.batch import RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.transform.columns import Columns, decoded, edges_of, validated
from tasks.transform.lost_steps import OPEN_STEPS, lost_steps
from tasks.transform.outcome import outcome
from tasks.transform.record_rules import check_record, check_text, check_time
from tasks.transform.robot_channels import channels_used, nozzles_in_use, total_volume
from tasks.transform.robot_deck import LABWARE, PIPETTES, items, labware_of, loaded_by, pipettes_of, storable
from tasks.transform.robot_pages import Found, Pages, read_pages

RUN_ID = "runs.id"
LONGEST: Final = timedelta(days=30)
"""No run or command takes longer: a robot without power keeps no time, and sets its clock later."""
LOOKED_UP = (
    "experiment_created_at",
    "pipette_name",
    "pipette_mount",
    "labware_name",
    "labware_load_name",
    "labware_slot",
)
"""Columns of a step that stand with its run."""
_MARKS = {"sequence": pl.Int32(), "part": pl.Int32(), "rules": pl.List(pl.String())}
_RUNS = {"experiment_id": pl.String(), "experiment_created_at": pl.Datetime("us", "UTC")}


def refine(
    batch: RawBatch, reference: Reference, contracts: Mapping[str, Contract], source_name: str
) -> Refined:
    """Refine the answers about one or more runs; `contracts` holds `experiments` and `experiment_steps`.

    A run that is still going, failed, was stopped or lost its data in a restart is an ordinary row. The steps
    that `reference` says are open close with a run that ended without them (`lost_steps`). A command that
    stands in two pages counts once, as it was seen last.
    """
    pages = read_pages(batch.messages)
    runs, steps = contracts["experiments"], contracts["experiment_steps"]
    robot = batch.position.detail.get("robot") if batch.position else None
    checked_runs = [_check_run(found, pages, runs, batch.received_at, robot) for found in pages.runs]
    created = {row["experiment_id"]: row["created_at"] for row in checked_runs if row["created_at"]}
    checked_steps = [
        _check_step(found, pages, steps, created.get(found.owner), batch.received_at) | {"channels": nozzles}
        for found, nozzles in zip(pages.commands, nozzles_in_use(pages), strict=True)
    ]
    experiments = derive_experiments(_frame(checked_runs, runs).lazy(), source_name).collect()
    derived_steps = derive_steps(
        _frame(checked_steps, steps).lazy(),
        pl.LazyFrame(
            [{"experiment_id": key, "experiment_created_at": at} for key, at in created.items()], _RUNS
        ),
        pipettes_of(pages.runs).lazy(),
        labware_of(pages.runs).lazy(),
        source_name,
    ).collect()
    standing = reference.frames.get(OPEN_STEPS, derived_steps.clear().select(steps.names))
    lost = lost_steps(standing, experiments, pages).select(derived_steps.columns)
    tables = [(experiments, runs), (pl.concat([derived_steps, lost]), steps)]
    return outcome(pages.unreadable, tables, batch.left_out)


def columns(contracts: Mapping[str, Contract], source: str, source_name: str) -> Columns:
    """What each column of both tables comes from, in the answers of `source` (a URI)."""
    runs, steps = contracts["experiments"], contracts["experiment_steps"]
    of_runs = validated(decoded(runs, source, "runs."), runs)
    created = of_runs.select("experiment_id", experiment_created_at=pl.col("created_at"))
    of_steps = decoded(steps, source, "commands.", {RUN_ID: pl.String()}).rename({RUN_ID: "experiment_id"})
    filled = validated(of_steps, steps).with_columns(pl.lit(None).alias(name) for name in LOOKED_UP)
    filled = filled.with_columns(
        channels=pl.col("params").cast(pl.Int64, strict=False)
    )  # of earlier commands
    pipettes, labware = (named(schema.to_frame().lazy(), source) for schema in (PIPETTES, LABWARE))
    return {
        runs.table: edges_of(derive_experiments(of_runs, source_name), runs, source),
        steps.table: edges_of(derive_steps(filled, created, pipettes, labware, source_name), steps, source),
    }


def derive_experiments(experiments: pl.LazyFrame, source_name: str) -> pl.LazyFrame:
    """Durations in s and the source's name; (experiments, n) to the same with the derived columns."""
    return experiments.with_columns(
        **_duration("started_at", "completed_at"), source_name=pl.lit(source_name)
    )


def derive_steps(
    steps: pl.LazyFrame,
    runs: pl.LazyFrame,
    pipettes: pl.LazyFrame,
    labware: pl.LazyFrame,
    source_name: str,
) -> pl.LazyFrame:
    """Durations in s, the run's creation time, the names of each step's pipette and labware, and its volume.

    `steps` (n), `runs` (experiment_id, experiment_created_at), `pipettes` and `labware` (one row per thing
    a run has); n rows come back. An unknown pipette or labware gets nulls. `channels` comes as
    `nozzles_in_use` gives it.
    """
    named = (
        steps.drop(LOOKED_UP)
        .join(runs, on="experiment_id", how="left", maintain_order="left")
        .join(
            pipettes.unique(["experiment_id", "pipette_id"], keep="last", maintain_order=True),
            on=["experiment_id", "pipette_id"],
            how="left",
            maintain_order="left",
        )
        .join(
            labware.unique(["experiment_id", "labware_id"], keep="last", maintain_order=True),
            on=["experiment_id", "labware_id"],
            how="left",
            maintain_order="left",
        )
    )
    return named.with_columns(
        **_duration("started_at", "completed_at"), channels=channels_used(), source_name=pl.lit(source_name)
    ).with_columns(total_volume_ul=total_volume())


def _duration(start: str, end: str) -> dict[str, pl.Expr]:
    """`duration_s` in s, or null and in `duration_fault` why no clock can have measured it."""
    micros = (pl.col(end) - pl.col(start)).dt.total_microseconds()
    fault = (
        pl.when(micros < 0)
        .then(pl.lit("negative"))
        .when(micros > LONGEST // timedelta(microseconds=1))
        .then(pl.lit("too_long"))
    )
    seconds = (micros / 1_000_000).round(6)  # Polars multiplies by the inverse: 6321 µs would be 0.00632099…
    return {"duration_s": pl.when(fault.is_null()).then(seconds), "duration_fault": fault}


def _check_run(
    found: Found, pages: Pages, contract: Contract, received_at: datetime, robot: str | None
) -> dict[str, Any]:
    checked = check_record(found.data, contract)
    rules = list(checked.rules)
    if checked.values["experiment_id"] not in (None, found.owner):
        rules.append("experiment_id.location")
    created_at = checked.values["created_at"]
    if created_at is not None:
        rules += check_time(created_at, contract, received_at)
    protocol = pages.protocols.get(checked.values["protocol_id"] or "")
    commands = {str(command.data.get("id")) for command in pages.commands if command.owner == found.owner}
    return {
        **checked.values,
        **_first_error(found.data),
        "robot": robot,
        "protocol_name": storable(protocol),
        "commands": len(commands),
        **_marks(found, rules),
    }


def _check_step(
    found: Found, pages: Pages, contract: Contract, created_at: datetime | None, received_at: datetime
) -> dict[str, Any]:
    checked = check_record(found.data, contract)
    rules = list(checked.rules)
    rules += check_text("experiment_id", found.owner)
    if created_at is None:  # the run itself was not among the answers, or says not when it was made
        rules.append("experiment_created_at.required")
    else:
        rules += check_time(created_at, contract, received_at)
    loaded = loaded_by(found, pages) if not rules else {}
    return {
        **checked.values,
        **loaded,
        "experiment_id": storable(found.owner),
        "step_index": found.index,
        **_marks(found, rules),
    }


def _marks(found: Found, rules: Sequence[str]) -> dict[str, Any]:
    return {"sequence": found.sequence, "part": found.part, "rules": list(dict.fromkeys(rules))}


def _first_error(run: Mapping[str, Any]) -> dict[str, Any]:
    """The run's first error, else why the robot has no data of it."""
    errors = [error for error in items(run, "errors") if isinstance(error, dict)]
    lost = run.get("dataError")
    if errors:
        kind, code, detail = (errors[0].get(key) for key in ("errorType", "errorCode", "detail"))
    elif isinstance(lost, dict):
        kind, code, detail = (lost.get(key) for key in ("id", "errorCode", "detail"))
    else:
        kind = code = detail = None
    return {
        "error_count": len(errors),
        "error_type": storable(kind),
        "error_code": storable(code),
        "error_message": storable(detail),
    }


def _frame(rows: Sequence[Mapping[str, Any]], contract: Contract) -> pl.DataFrame:
    schema = {column.name: column.polars_type for column in contract.columns} | _MARKS
    return pl.DataFrame(
        [{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row"
    )
