"""What `readings` can add to a record: the columns a contract may derive, and what each is computed from.

A contract that asks for anything else, or for this of something else, is refused before the first record.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lineage.errors import ContractError
from tasks.contract import Column, ColumnType, Contract

FLOAT, TEXT = ColumnType.FLOAT, ColumnType.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a column must be: one of these types, in this unit unless it says none."""

    types: tuple[ColumnType, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A column that can be added, and the columns of the input that it is computed from."""

    kind: Kind
    of: Mapping[str, Kind] = field(default_factory=dict)


_TEXT: Final = Kind(types=(TEXT,))
_NUMBER: Final = (FLOAT, ColumnType.INTEGER)
_CELSIUS: Final = Kind(types=_NUMBER, unit="°C")
_PERCENT: Final = Kind(types=_NUMBER, unit="%")
_DEGREE: Final = Kind(types=_NUMBER, unit="°")

REGISTER: Final = {"device_name": "name", "device_model": "model", "device_site": "site"}
"""Column → the device register's."""
PLACE: Final = ("place", "country", "time_zone")
COORDINATES: Final = ("latitude", "longitude")
WEATHER: Final = ("temperature", "humidity")
SOURCE_NAME: Final = "source_name"

DERIVED: Final[Mapping[str, Derived]] = {
    **dict.fromkeys(REGISTER, Derived(kind=_TEXT, of={"device_id": _TEXT})),
    **dict.fromkeys(PLACE, Derived(kind=_TEXT, of=dict.fromkeys(COORDINATES, _DEGREE))),
    **dict.fromkeys(
        ("heat_index", "dew_point"),
        Derived(
            kind=Kind(types=(FLOAT,), unit="°C"), of=dict(zip(WEATHER, (_CELSIUS, _PERCENT), strict=True))
        ),
    ),
    SOURCE_NAME: Derived(kind=_TEXT),
}


def check(contract: Contract) -> None:
    """Raise ContractError where the contract wants what cannot be added to its records."""
    for name in contract.derived:
        for why in _problems(contract, contract.column(name)):
            raise ContractError(f"{contract.table}: {why}")


def _problems(contract: Contract, column: Column) -> Iterator[str]:
    name = column.name
    if name not in DERIVED:
        known = ", ".join(DERIVED)
        yield f"`readings` cannot derive {name}, only {known}: name a transform of yours."
        return
    if name in contract.key:
        yield f"{name} is derived, and a key is what a record says itself: take it out of the key."
    inputs = {each.name: each for each in contract.inputs}
    if lacking := [needed for needed in DERIVED[name].of if needed not in inputs]:
        yield f"{name} is derived from {', '.join(lacking)}, which no record gives: add it as a column."
        return
    yield from _unlike(column, DERIVED[name].kind, f"{name} is derived as")
    for needed, kind in DERIVED[name].of.items():
        yield from _unlike(inputs[needed], kind, f"{name} is derived from {needed} as")


def _unlike(column: Column, kind: Kind, what: str) -> Iterator[str]:
    if column.type not in kind.types:
        wanted = " or ".join(kind.types)
        yield f"{what} {wanted}, and {column.name} is {column.type}: make it `type: {kind.types[0]}`."
    elif kind.unit is not None and column.unit not in (None, kind.unit):
        said = f"{what} {kind.unit}, and {column.name} is in {column.unit}"
        yield f'{said}: bring it to `unit: "{kind.unit}"`.'
