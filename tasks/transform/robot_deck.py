"""What stands on a robot's deck in a run: which pipette and which labware a command means."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from tasks.transform.robot_pages import Found, Pages
from tasks.transform.robot_paths import Paths

PIPETTES: Final[Paths] = {
    "experiment_id": ("runs.id",),
    "pipette_id": ("runs.pipettes.id",),
    "pipette_name": ("runs.pipettes.pipetteName",),
    "pipette_mount": ("runs.pipettes.mount",),
}
LABWARE: Final[Paths] = {
    "experiment_id": ("runs.id",),
    "labware_id": ("runs.labware.id",),
    "labware_name": ("runs.labware.displayName", "runs.labware.loadName"),
    "labware_load_name": ("runs.labware.loadName",),
    "labware_slot": ("runs.labware.location", "runs.labware.id", "runs.modules.id", "runs.modules.location"),
}
LOADS: Final = ".loads"
"""The column that a load command brings, `pipette_id` or `labware_id`; no contract's column has a dot."""
LOADED: Final = {"pipette_id": ".loaded pipette", "labware_id": ".loaded labware"}
"""Of each the column of what was loaded."""
LOADED_OF: Final[Paths] = {
    LOADS: ("commands.commandType", "commands.status"),
    LOADED["pipette_id"]: (
        *("commands.result.pipetteId", "commands.params.mount", "commands.params.pipetteName"),
        *("runs.pipettes.id", "runs.pipettes.mount", "runs.pipettes.pipetteName"),
    ),
    LOADED["labware_id"]: (
        *("commands.result.labwareId", "commands.params.loadName", "commands.params.location"),
        *("runs.labware.id", "runs.labware.loadName", "runs.labware.location"),
    ),
}
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What no text of Postgres holds: a NUL, half a surrogate pair."""


def loaded_by(found: Found, pages: Pages) -> Mapping[str, str | None]:
    """What a load command brought (LOADED_OF): its params name no id, and lists leave results out."""
    kind, params, result = (found.data.get(key) for key in ("commandType", "params", "result"))
    if kind not in ("loadPipette", "loadLabware") or found.data.get("status") != "succeeded":
        return {}
    params = params if isinstance(params, dict) else {}
    result = result if isinstance(result, dict) else {}
    run = next((run.data for run in reversed(pages.runs) if run.owner == found.owner), {})
    if kind == "loadPipette":
        wanted = {"mount": params.get("mount"), "pipetteName": params.get("pipetteName")}
        known = storable(result.get("pipetteId")) or _only(items(run, "pipettes"), wanted)
        return {LOADS: "pipette_id", LOADED["pipette_id"]: known}
    wanted = {"loadName": params.get("loadName"), "location": params.get("location")}
    known = storable(result.get("labwareId")) or _only(items(run, "labware"), wanted)
    return {LOADS: "labware_id", LOADED["labware_id"]: known}


def loaded() -> list[pl.Expr]:
    """`pipette_id` and `labware_id` of a command, of a load command those of what it brought."""
    return [
        pl.when(pl.col(LOADS) == name).then(pl.col(known)).otherwise(pl.col(name)).alias(name)
        for name, known in LOADED.items()
    ]


def _only(things: Sequence[Any], wanted: Mapping[str, Any]) -> str | None:
    """The id of the one thing that has these values, null when there is none or more than one."""
    ids = [
        thing.get("id")
        for thing in things
        if isinstance(thing, dict) and all(thing.get(key) == value for key, value in wanted.items())
    ]
    return storable(ids[0]) if len(ids) == 1 else None


def pipettes_of(runs: Sequence[Found]) -> pl.DataFrame:
    """The pipettes of the runs (PIPETTES, n)."""
    rows = [
        {
            "experiment_id": storable(run.owner),
            "pipette_id": storable(pipette.get("id")),
            "pipette_name": storable(pipette.get("pipetteName")),
            "pipette_mount": storable(pipette.get("mount")),
        }
        for run in runs
        for pipette in items(run.data, "pipettes")
        if isinstance(pipette, dict)
    ]
    return pl.DataFrame(rows, dict.fromkeys(PIPETTES, pl.String()))


def labware_of(runs: Sequence[Found]) -> pl.DataFrame:
    """The labware of the runs (LABWARE, n)."""
    rows = [
        {
            "experiment_id": storable(run.owner),
            "labware_id": storable(labware.get("id")),
            "labware_name": storable(labware.get("displayName")) or storable(labware.get("loadName")),
            "labware_load_name": storable(labware.get("loadName")),
            "labware_slot": _slot(run.data, labware.get("location")),
        }
        for run in runs
        for labware in items(run.data, "labware")
        if isinstance(labware, dict)
    ]
    return pl.DataFrame(rows, dict.fromkeys(LABWARE, pl.String()))


def _slot(run: Mapping[str, Any], location: Any, depth: int = 5) -> str | None:
    """The deck slot of a location, through the module or the adapter it may stand on."""
    if isinstance(location, str):  # "offDeck"
        return storable(location)
    if not isinstance(location, dict) or depth == 0:
        return None
    for key, among in (("moduleId", "modules"), ("labwareId", "labware")):
        if key in location:
            below = [item for item in items(run, among) if isinstance(item, dict)]
            holder = next((item for item in below if item.get("id") == location[key]), {})
            return _slot(run, holder.get("location"), depth - 1)
    return storable(location.get("slotName")) or storable(location.get("addressableAreaName"))


def items(run: Mapping[str, Any], key: str) -> list[Any]:
    """A list in a run, empty when it is missing or no list."""
    value = run.get(key)
    return value if isinstance(value, list) else []


def storable(value: Any) -> str | None:
    """A text that Postgres can hold, or null; the record's own rules say what is wrong with it."""
    return value if isinstance(value, str) and not _UNSTORABLE.search(value) else None
