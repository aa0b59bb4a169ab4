"""`weather`: what a temperature and a humidity mean, by the formulas of `tasks/transform/weather.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import Field

from lineage.errors import ContractError
from tasks.contract import Column, ColumnType, Frozen, Name
from tasks.transform.weather import dew_point, heat_index

_FORMULAS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "dew_point": dew_point,
    "heat_index": heat_index,
}
_NUMBERS: Final = (ColumnType.FLOAT, ColumnType.INTEGER)


class WeatherColumns(Frozen):
    """Which of dew_point and heat_index (°C), from which temperature (°C) and relative humidity (%)."""

    add: Annotated[tuple[Literal["dew_point", "heat_index"], ...], Field(min_length=1)]
    temperature: Name
    humidity: Name


class Weather(Frozen):
    """Columns that are called as what they are: `dew_point`, `heat_index`."""

    weather: WeatherColumns

    @property
    def sets(self) -> Sequence[str]:
        return self.weather.add

    def check(self, columns: Mapping[str, Column], there: Sequence[str]) -> None:
        for name in self.sets:
            _is_in("°C", columns[name], (ColumnType.FLOAT,))
        for name, unit in ((self.weather.temperature, "°C"), (self.weather.humidity, "%")):
            if name not in there:
                raise ContractError(f"weather reads {name}, and there is no such column before it")
            _is_in(unit, columns[name], _NUMBERS)

    def expressions(self, _there: Sequence[str]) -> Mapping[str, pl.Expr]:
        measured = pl.col(self.weather.temperature), pl.col(self.weather.humidity)
        return {name: _FORMULAS[name](*measured) for name in self.sets}

    def keeps(self, _there: Sequence[str]) -> None:
        return None


def _is_in(unit: str, column: Column, kinds: Sequence[ColumnType]) -> None:
    if column.type not in kinds or column.unit not in (None, unit):
        said = f"{column.type} in {column.unit}" if column.unit else column.type
        raise ContractError(f"weather takes {column.name} as {kinds[0]} in {unit}, and it is {said}")
