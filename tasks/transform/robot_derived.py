"""What is derived of a robot's runs and commands by Polars plans: durations, names, channels and volumes."""

from datetime import timedelta
from typing import Final

import polars as pl

from tasks.transform.robot_channels import channels_used, total_volume
from tasks.transform.robot_deck import loaded

RUNS: Final = "experiments"
STEPS: Final = "experiment_steps"
SOURCE_NAME: Final = "source_name"
LONGEST: Final = timedelta(days=30)
"""No run or command takes longer: a robot without power keeps no time, and sets its clock later."""
_DURATION: Final = ("duration_s", "duration_fault")
_OF_ERROR: Final = ("error_count", "error_type", "error_code", "error_message")

DERIVED: Final = {
    RUNS: ("robot", "protocol_name", "commands", *_DURATION, *_OF_ERROR, SOURCE_NAME),
    STEPS: (
        *("experiment_id", "experiment_created_at", "step_index", *_DURATION),
        *("channels", "total_volume_ul", "pipette_name", "pipette_mount"),
        *("labware_name", "labware_load_name", "labware_slot", SOURCE_NAME),
    ),
}
"""Table → the columns that its contract may have as `derived`."""


def derive_experiments(experiments: pl.LazyFrame, protocols: pl.LazyFrame, source_name: str) -> pl.LazyFrame:
    """Durations in s, the protocol's and the source's name; (experiments, n) to the same with them.

    `protocols` (`protocol_id`, `protocol_name`). An unknown protocol gets a null.
    """
    named = _with(experiments, protocols, ["protocol_id"])
    return named.with_columns(**_duration("started_at", "completed_at"), source_name=pl.lit(source_name))


def derive_steps(
    steps: pl.LazyFrame,
    runs: pl.LazyFrame,
    pipettes: pl.LazyFrame,
    labware: pl.LazyFrame,
    source_name: str,
) -> pl.LazyFrame:
    """Durations in s, the run's creation time, the names of each step's pipette and labware, and its volume.

    `steps` (n) with what Python knows of them (`robot_facts.OF_STEP`), `runs` as of `created_at`, `pipettes`
    and `labware` (one row per thing a run has); n rows come back. An unknown pipette or labware gets nulls.
    """
    made = _with(steps.with_columns(loaded()), runs, ["experiment_id"])
    made = _with(made, pipettes, ["experiment_id", "pipette_id"])
    made = _with(made, labware, ["experiment_id", "labware_id"])
    return made.with_columns(
        **_duration("started_at", "completed_at"), channels=channels_used(), source_name=pl.lit(source_name)
    ).with_columns(total_volume_ul=total_volume())


def created_at(runs: pl.LazyFrame) -> pl.LazyFrame:
    """When each run was made, of runs good or bad: `experiment_id`, `experiment_created_at`."""
    known = runs.select("experiment_id", experiment_created_at=pl.col("created_at"))
    return known.filter(pl.col("experiment_created_at").is_not_null())


def _with(frame: pl.LazyFrame, known: pl.LazyFrame, on: list[str]) -> pl.LazyFrame:
    """The rows, in their order, with what is known last of the same."""
    last = known.unique(on, keep="last", maintain_order=True)
    return frame.join(last, on=on, how="left", maintain_order="left")


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
