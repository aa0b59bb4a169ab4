"""`weather`: what a temperature and a humidity mean, by the formulas of `tasks/transform/weather.py`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import polars as pl

from tasks.contract import Column, ColumnType, Contract, Frozen, Name
from tasks.transform.steps.step import Added, Values, is_as, is_there, ours_to_theirs
from tasks.transform.weather import dew_point, heat_index

Formula: TypeAlias = Literal["dew_point", "heat_index"]
_FORMULAS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "dew_point": dew_point,
    "heat_index": heat_index,
}
_NUMBERS: Final = (ColumnType.FLOAT, ColumnType.INTEGER)


class WeatherColumns(Frozen):
    """Which of dew_point and heat_index (°C), from which temperature (°C) and relative humidity (%)."""

    add: Added[Formula]
    temperature: Name
    humidity: Name


class Weather(Frozen):
    """Columns that are called as what they are, or ours → `dew_point`, `heat_index`."""

    weather: WeatherColumns

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
            is_as("weather", columns[name], (ColumnType.FLOAT,), "°C")
        for name, unit in zip(self._measured, ("°C", "%"), strict=True):
            is_there("weather", name, there)
            is_as("weather", columns[name], _NUMBERS, unit)

    def reads(self, _there: Sequence[str]) -> Mapping[str, Collection[str]]:
        return dict.fromkeys(self.sets, self._measured)

    def does(self, _there: Sequence[str], _tables: Mapping[str, Contract]) -> Values:
        temperature, humidity = map(pl.col, self._measured)
        return Values({ours: _FORMULAS[what](temperature, humidity) for ours, what in self._added.items()})

    @property
    def _added(self) -> Mapping[str, str]:
        return ours_to_theirs(self.weather.add)

    @property
    def _measured(self) -> tuple[str, str]:
        return self.weather.temperature, self.weather.humidity
