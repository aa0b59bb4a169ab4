"""Where a pair of coordinates is: nearest town, country and time zone, from data that libraries bring along.

Nothing is asked over the network and the same coordinates always give the same answer, so a transform that
uses a `PlaceFinder` is still pure. Coordinates are looked up once per cell of 0.01° (about 1 km), at its
centre, so that the answer does not depend on which point of the cell a device gave. The nearest town is by
degrees, as the library measures: at sea it may be far away, and near the poles or the date line another may
be nearer.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Final, NamedTuple

import polars as pl

CELLS_PER_DEGREE: Final = 100
MOST_CELLS: Final = 100_000  # kept in the cache, about 30 MB

CELL: Final = ("latitude_cell", "longitude_cell")
PLACE_SCHEMA: Final = pl.Schema(
    {CELL[0]: pl.Int32, CELL[1]: pl.Int32, "place": pl.String, "country": pl.String, "time_zone": pl.String}
)

Point = tuple[float, float]  # latitude, longitude in degrees


class Place(NamedTuple):
    """`country` is ISO 3166-1 alpha-2; `time_zone` the IANA name, `Etc/…` at sea."""

    place: str | None
    country: str | None
    time_zone: str | None


Look = Callable[[Sequence[Point]], list[Place]]


def cell(coordinate: pl.Expr) -> pl.Expr:
    """The cell of a latitude or longitude in degrees: hundredths of a degree as an integer."""
    return (coordinate * CELLS_PER_DEGREE).round().cast(pl.Int32)


class PlaceFinder:
    """Looks cells up, each once; remembers the last `most` of them.

    `load` gives the function that answers; by default the two libraries, which take some seconds of CPU and
    60 MB, and are loaded when the first coordinate comes, or by `warm`.
    """

    def __init__(self, load: Callable[[], Look] | None = None, most: int = MOST_CELLS) -> None:
        self._load = load or _libraries
        self._look: Look | None = None
        self._known: dict[tuple[int, int], Place] = {}
        self._most = most

    def warm(self) -> None:
        """Load the libraries' data now instead of with the first coordinate."""
        self._look = self._look or self._load()

    def find(self, cells: pl.DataFrame) -> pl.DataFrame:
        """Places (PLACE_SCHEMA, n) of distinct cells (CELL, n); rows with a null are left out."""
        wanted = [tuple(row) for row in cells.select(CELL).drop_nulls().iter_rows()]
        found = {key: place for key in wanted if (place := self._known.get(key)) is not None}
        new = [key for key in wanted if key not in found]
        if new:
            self.warm()
            assert self._look is not None  # noqa: S101 - warm() has just set it
            points = [
                (latitude / CELLS_PER_DEGREE, longitude / CELLS_PER_DEGREE) for latitude, longitude in new
            ]
            answers = dict(zip(new, self._look(points), strict=True))
            found |= answers
            self._remember(answers)
        return pl.DataFrame([(*key, *found[key]) for key in wanted], PLACE_SCHEMA, orient="row")

    def _remember(self, answers: dict[tuple[int, int], Place]) -> None:
        self._known |= answers
        for key in list(self._known)[: max(0, len(self._known) - self._most)]:  # the oldest first
            del self._known[key]


@cache
def libraries() -> str:
    """Which releases of the two libraries answer: their data is another one in another release."""
    return ", ".join(f"{name} {version(name)}" for name in ("reverse_geocode", "timezonefinder"))


def _libraries() -> Look:
    """Both libraries, loaded once per process, whichever thread is the first."""
    from tasks.transform.place_data import look

    return look
