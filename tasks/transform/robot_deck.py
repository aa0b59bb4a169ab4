"""What stands on a robot's deck in a run: which pipette and which labware a command means."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tasks.transform.record_rules import check_text
from tasks.transform.robot_pages import Found, Pages

PIPETTES = pl.Schema(
    dict.fromkeys(("experiment_id", "pipette_id", "pipette_name", "pipette_mount"), pl.String())
)
LABWARE = pl.Schema(
    dict.fromkeys(
        ("experiment_id", "labware_id", "labware_name", "labware_load_name", "labware_slot"), pl.String()
    )
)


def loaded_by(found: Found, pages: Pages) -> dict[str, Any]:
    """Which pipette or labware a load command brought: its params name none, and lists leave results out."""
    kind, params, result = (found.data.get(key) for key in ("commandType", "params", "result"))
    params = params if isinstance(params, dict) else {}
    result = result if isinstance(result, dict) else {}
    run = next((run.data for run in reversed(pages.runs) if run.owner == found.owner), {})
    if kind == "loadPipette" and found.data.get("status") == "succeeded":
        wanted = {"mount": params.get("mount"), "pipetteName": params.get("pipetteName")}
        return {"pipette_id": storable(result.get("pipetteId")) or _only(items(run, "pipettes"), wanted)}
    if kind == "loadLabware" and found.data.get("status") == "succeeded":
        wanted = {"loadName": params.get("loadName"), "location": params.get("location")}
        return {"labware_id": storable(result.get("labwareId")) or _only(items(run, "labware"), wanted)}
    return {}


def _only(things: Sequence[Any], wanted: Mapping[str, Any]) -> str | None:
    """The id of the one thing that has these values, null when there is none or more than one."""
    ids = [
        thing.get("id")
        for thing in things
        if isinstance(thing, dict) and all(thing.get(key) == value for key, value in wanted.items())
    ]
    return storable(ids[0]) if len(ids) == 1 else None


def pipettes_of(runs: Sequence[Found]) -> pl.DataFrame:
    """The pipettes of the runs: experiment_id, pipette_id, pipette_name, pipette_mount."""
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
    return pl.DataFrame(rows, PIPETTES)


def labware_of(runs: Sequence[Found]) -> pl.DataFrame:
    """The labware of the runs: experiment_id, labware_id, labware_name, labware_load_name, labware_slot."""
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
    return pl.DataFrame(rows, LABWARE)


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
    return value if isinstance(value, str) and not check_text("", value) else None
