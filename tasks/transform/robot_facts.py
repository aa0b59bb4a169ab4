"""What Python finds in a robot's answers about each record beside what is read of it: counts, errors, loads.

Each table says the JSON paths that its columns are found in, for the lineage that no plan shows.
"""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from tasks.batch import RawBatch
from tasks.transform.robot_channels import NOZZLES, NOZZLES_OF, nozzles_in_use
from tasks.transform.robot_deck import LOADED_OF, items, loaded_by, storable
from tasks.transform.robot_pages import Pages
from tasks.transform.robot_paths import Paths

OWNER: Final = ".owner"
"""The run's id in the address of an answer; no contract's column has a dot in its name."""

OF_RUN: Final[Paths] = {
    OWNER: ("runs.id",),
    "robot": (),  # its name in the settings
    "commands": ("commands.id",),
    "error_count": ("runs.errors",),
    "error_type": ("runs.errors.errorType", "runs.dataError.id"),
    "error_code": ("runs.errors.errorCode", "runs.dataError.errorCode"),
    "error_message": ("runs.errors.detail", "runs.dataError.detail"),
}
OF_STEP: Final[Paths] = {
    "experiment_id": ("runs.id",),
    "step_index": ("commands.meta.cursor",),
    NOZZLES: NOZZLES_OF,
    **LOADED_OF,
}
PROTOCOLS: Final[Paths] = {
    "protocol_id": ("protocols.id",),
    "protocol_name": ("protocols.metadata.protocolName",),
}
_NUMBERS: Final = ("commands", "error_count", "step_index", NOZZLES)


def of_runs(pages: Pages, batch: RawBatch) -> pl.DataFrame:
    """What is known of each run (OF_RUN, n)."""
    robot = batch.position.detail.get("robot") if batch.position else None
    rows = [
        {
            OWNER: run.owner,
            "robot": robot,
            "commands": len({str(each.data.get("id")) for each in pages.commands if each.owner == run.owner}),
            **_first_error(run.data),
        }
        for run in pages.runs
    ]
    return pl.DataFrame(rows, schema_of(OF_RUN))


def of_steps(pages: Pages) -> pl.DataFrame:
    """What is known of each command (OF_STEP, n)."""
    rows = [
        {
            **dict.fromkeys(OF_STEP),
            "experiment_id": command.owner,
            "step_index": command.index,
            NOZZLES: nozzles,
            **loaded_by(command, pages),
        }
        for command, nozzles in zip(pages.commands, nozzles_in_use(pages), strict=True)
    ]
    return pl.DataFrame(rows, schema_of(OF_STEP))


def protocols(pages: Pages) -> pl.DataFrame:
    """The names of protocols (PROTOCOLS, n)."""
    rows = [(key, storable(name)) for key, name in pages.protocols.items()]
    return pl.DataFrame(rows, schema_of(PROTOCOLS), orient="row")


def schema_of(columns: Paths) -> pl.Schema:
    """The types of what is known."""
    return pl.Schema({name: pl.Int64() if name in _NUMBERS else pl.String() for name in columns})


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
