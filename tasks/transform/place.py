"""Where two coordinates are: nearest town, its region and country, time zone, as libraries' data has it.

Nothing is asked over the network and the same coordinates always give the same answer, so a transform that
uses a `PlaceFinder` is still pure. Coordinates are looked up once per cell of 0.01° (about 1 km), at its
centre, so that the answer does not depend on which point of the cell a device gave. The nearest town is by
degrees, as the library measures: at sea it may be far away, and near the poles or the date line another may
be nearer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Final, NamedTuple

import polars as pl

CELLS_PER_DEGREE: Final = 100
MOST_CELLS: Final = 100_000  # kept in the cache, about 30 MB

CELL: Final = ("latitude_cell", "longitude_cell")
PLACE_SCHEMA: Final = pl.Schema(
    {
        **dict.fromkeys(CELL, pl.Int32),
        **dict.fromkeys(("city", "region", "country", "time_zone"), pl.String),
    }
)

Point = tuple[float, float]  # latitude, longitude in degrees


class Place(NamedTuple):
    """`country` is ISO 3166-1 alpha-2; `time_zone` the IANA name, `Etc/…` at sea."""

    city: str | None
    region: str | None
    country: str | None
    time_zone: str | None


Look = Callable[[Sequence[Point]], list[Place]]


def cell(coordinate: pl.Expr) -> pl.Expr:
    """The cell of a latitude or longitude in degrees: hundredths of a degree as an integer."""
    return (coordinate * CELLS_PER_DEGREE).round().cast(pl.Int32, strict=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """Places (PLACE_SCHEMA, n), the oldest first, and the row of each cell."""

    places: pl.DataFrame
    at: Mapping[tuple[int, int], int]


class PlaceFinder:
    """Looks cells up, each once; remembers the last `most` of them, or a few more.

    `load` gives the function that answers; by default the two libraries, which take some seconds of CPU and
    60 MB, and are loaded when the first coordinate comes, or by `warm`. What is known is replaced as a whole:
    of two threads one may have to look up again what the other found.
    """

    def __init__(self, load: Callable[[], Look] | None = None, most: int = MOST_CELLS) -> None:
        self._load = load or _libraries
        self._look: Look | None = None
        self._known = _Known(PLACE_SCHEMA.to_frame(), {})
        self._most = most

    def warm(self) -> None:
        """Load the libraries' data now instead of with the first coordinate."""
        self._look = self._look or self._load()

    def find(self, cells: pl.DataFrame) -> pl.DataFrame:
        """Places (PLACE_SCHEMA, n) of distinct cells (CELL, n), without those that are nowhere on Earth."""
        wanted, known = cells.select(CELL).rows(), self._known
        if new := [each for each in wanted if each not in known.at and _is_somewhere(*each)]:
            known = _Known(
                pl.concat([known.places, self._asked(new)], rechunk=True),
                {**known.at, **{each: row for row, each in enumerate(new, start=known.places.height)}},
            )
            self._known = _last(known, self._most)
        return known.places[[known.at[each] for each in wanted if each in known.at]]

    def _asked(self, cells: Sequence[tuple[int, int]]) -> pl.DataFrame:
        self.warm()
        assert self._look is not None  # noqa: S101 - warm() has just set it
        points = [
            (latitude / CELLS_PER_DEGREE, longitude / CELLS_PER_DEGREE) for latitude, longitude in cells
        ]
        answers = [(*each, *place) for each, place in zip(cells, self._look(points), strict=True)]
        return pl.DataFrame(answers, PLACE_SCHEMA, orient="row")


def _last(known: _Known, most: int) -> _Known:
    """The last `most` places, once there are a tenth more."""
    if known.places.height <= most + most // 10:
        return known
    places = known.places.tail(most)
    return _Known(places, {each: row for row, each in enumerate(places.select(CELL).rows())})


def _is_somewhere(latitude: int | None, longitude: int | None) -> bool:
    """Whether a cell is one of Earth; without one of the two, or beyond a pole, it is none."""
    if latitude is None or longitude is None:
        return False
    return abs(latitude) <= 90 * CELLS_PER_DEGREE and abs(longitude) <= 180 * CELLS_PER_DEGREE


@cache
def libraries() -> str:
    """Which releases of the two libraries answer: their data is another one in another release."""
    return ", ".join(f"{name} {version(name)}" for name in ("reverse_geocode", "timezonefinder"))


def _libraries() -> Look:
    """Both libraries, loaded once per process, whichever thread is the first."""
    from tasks.transform.place_data import look

    return look
