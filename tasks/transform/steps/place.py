"""`place`: where two coordinates are, as the libraries behind `tasks/transform/place.py` know it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import polars as pl

from lineage import naming
from tasks.batch import Reference
from tasks.contract import Column, ColumnType, Contract, Frozen, Name
from tasks.transform.place import CELL, PLACE_SCHEMA, PlaceFinder, cell, libraries
from tasks.transform.steps.step import Added, Found, is_as, is_there, ours_to_theirs

What: TypeAlias = Literal["city", "region", "country", "time_zone"]
LIBRARY: Final = naming.library("reverse_geocode")
_NUMBERS: Final = (ColumnType.FLOAT, ColumnType.INTEGER)
_HERE: Final = (".latitude", ".longitude")  # no contract's column has a dot in its name


class PlaceColumns(Frozen):
    """Which of city, region, country, time_zone, from which coordinates in degrees."""

    add: Added[What]
    latitude: Name
    longitude: Name


class Place(Frozen):
    """Columns that are called as what they are, or ours → `city`, `region`, `country`, `time_zone`."""

    place: PlaceColumns

    @property
    def sets(self) -> Sequence[str]:
        return tuple(self._added)

    @property
    def table(self) -> None:
        return None

    def check(
        self, columns: Mapping[str, Column], there: Sequence[str], _tables: Mapping[str, Contract]
    ) -> None:
        for name in self.sets:
            is_as("place", columns[name], (ColumnType.TEXT,))
        for name in self._coordinates:
            is_there("place", name, there)
            is_as("place", columns[name], _NUMBERS, "°")

    def reads(self, _there: Sequence[str]) -> Mapping[str, Collection[str]]:
        return dict.fromkeys(self.sets, self._coordinates)

    def does(self, _there: Sequence[str], _tables: Mapping[str, Contract]) -> Found:
        finder = PlaceFinder()
        cells = [cell(pl.col(name)) for name in self._coordinates]
        here = [each.alias(name) for each, name in zip(cells, _HERE, strict=True)]
        theirs = {**dict(zip(_HERE, CELL, strict=True)), **self._added}

        def rows(records: pl.DataFrame, _reference: Reference) -> pl.DataFrame:
            asked = (each.alias(name) for each, name in zip(cells, CELL, strict=True))
            return finder.find(records.select(asked).unique())

        def add(records: pl.LazyFrame, places: pl.LazyFrame) -> pl.LazyFrame:
            found = places.select(pl.col(name).alias(ours) for ours, name in theirs.items())
            located = records.with_columns(here)
            return located.join(found, on=_HERE, how="left", maintain_order="left").drop(_HERE)

        return Found(
            dataset=LIBRARY,
            schema=PLACE_SCHEMA,
            rows=rows,
            state=lambda _reference: libraries(),
            add=add,
            of_records=True,
        )

    @property
    def _added(self) -> Mapping[str, str]:
        return ours_to_theirs(self.place.add)

    @property
    def _coordinates(self) -> tuple[str, str]:
        return self.place.latitude, self.place.longitude
