"""How many channels of its pipette a command uses: the volume a robot names is moved by each of them.

A pipette's name says how many it has; `configureNozzleLayout` leaves some out, until the next one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from tasks.transform.robot_pages import Pages

MOVING: Final = (
    *("aspirate", "aspirateInPlace", "aspirateWhileTracking"),
    *("dispense", "dispenseInPlace", "dispenseWhileTracking"),
)
"""Commands whose volume is of liquid that they move."""
UNKNOWN: Final = 0
NOZZLES: Final = ".nozzles"
"""The column of `nozzles_in_use`; no contract's column has a dot in its name."""
NOZZLES_OF: Final = (
    *("commands.commandType", "commands.status", "commands.params.pipetteId"),
    "commands.params.configurationParams",
)
_STYLES: Final = {"ALL": None, "SINGLE": 1, "COLUMN": 8, "ROW": 12}
_NOZZLE: Final = re.compile(r"([A-H])([1-9]|1[0-2])")


def nozzles_in_use(pages: Pages) -> Sequence[int | None]:
    """For each command: how many nozzles a layout left its pipette; null: all, or UNKNOWN.

    While an answer could not be read it may have held a layout.
    """
    left: dict[tuple[str, str], int | None] = {}
    used: list[int | None] = []
    for command in pages.commands:
        params = command.data.get("params")
        params = params if isinstance(params, dict) else {}
        pipette = command.owner, str(params.get("pipetteId"))
        if (
            command.data.get("commandType") == "configureNozzleLayout"
            and command.data.get("status") != "failed"
        ):
            left[pipette] = _left_by(params.get("configurationParams"))
        used.append(UNKNOWN if pages.unreadable else left.get(pipette))
    return used


def _left_by(layout: Any) -> int | None:
    """How many nozzles a layout leaves; null: all of them."""
    layout = layout if isinstance(layout, dict) else {}
    style = layout.get("style")
    if style == "QUADRANT":
        return _between(layout)
    return _STYLES.get(style, UNKNOWN) if isinstance(style, str) else UNKNOWN


def _between(layout: Mapping[str, Any]) -> int:
    """How many nozzles stand in the rectangle of a layout's corners."""
    corners = (layout.get("backLeftNozzle") or layout.get("primaryNozzle"), layout.get("frontRightNozzle"))
    found = [_NOZZLE.fullmatch(corner) for corner in corners if isinstance(corner, str)]
    places = [(ord(each[1]), int(each[2])) for each in found if each]
    if len(places) != len(corners):
        return UNKNOWN
    (row, column), (last_row, last_column) = places
    return (abs(last_row - row) + 1) * (abs(last_column - column) + 1)


def channels_used() -> pl.Expr:
    """How many channels a command uses, by NOZZLES and its `pipette_name`."""
    name, left = pl.col("pipette_name"), pl.col(NOZZLES)
    has = (
        pl.when(name.str.contains("96"))
        .then(96)
        .when(name.str.contains("multi|8channel"))
        .then(8)
        .when(name.str.contains("single|1channel"))
        .then(1)
    ).cast(pl.Int64)
    some = pl.when(left != UNKNOWN).then(pl.min_horizontal(left, has))
    return pl.when(has.is_null() | (has == 1) | left.is_null()).then(has).otherwise(some)


def total_volume() -> pl.Expr:
    """What all `channels` move together in µL; null for a command that moves no liquid."""
    return pl.when(pl.col("command_type").is_in(MOVING)).then(pl.col("volume_ul") * pl.col("channels"))
