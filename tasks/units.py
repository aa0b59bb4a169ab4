"""Units of measure, and what makes of a number in one the same in another: all that imports pint.

A conversion is three numbers, kept with its contract: nothing is asked of a library where it is computed.
What pint would convert and nobody means is refused: pint takes an angle for a plain number, so that 60 rpm
would be 6.28 Hz.
"""

import re
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pint import Unit

Conversion: TypeAlias = tuple[float, float, float]
"""(before, factor, after): the converted number is (number + before) * factor + after."""
Word: TypeAlias = Literal["from_unit", "unit"]

LONGEST: Final = 60  # characters
_WRITTEN: Final = re.compile(r"[\w°µμΩÅΔ%‰·*/^()²³¹⁰⁴-⁹⁻. -]+")
_HUGE: Final = re.compile(r"\d{3}|\d[ )]*(\*\*|\^)")  # powers that nobody means take minutes
_POWER: Final = re.compile(r"(.*?[^\d-])(-?\d)")  # as in m3
_LARGEST: Final = 10**60
_UNREAD: Final = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, SyntaxError, TokenError),
)
"""How pint fails: its own errors are among them, and what its parser does not catch."""


class UnitError(ValueError):
    """Why numbers are not converted, in one sentence; `word`: of the contract's words the wrong one."""

    def __init__(self, word: Word, said: str) -> None:
        super().__init__(said)
        self.word = word


@cache
def conversion(from_unit: str, unit: str) -> Conversion:
    """What makes of a number in `from_unit` the same in `unit`; raises UnitError.

    Computed with fractions; what is added is added where it is exact, °F to °C as (number - 32) * 5/9.
    """
    source, target = _unit("from_unit", from_unit), _unit("unit", unit)
    if source.dimensionality != target.dimensionality:
        said = f"{_named(from_unit, source)} and {_named(unit, target)} do not measure the same"
        raise UnitError("from_unit", f"{said}: correct one of the two")
    if _roots(source) != _roots(target):
        said = f"one of {from_unit} and {unit} counts angles, events or bits, and the other does not"
        raise UnitError("from_unit", f"{said}: say what you mean by an expression, in a step")
    factor, offset = _line(from_unit, unit, source, target)
    if factor == 1 and not offset:
        raise UnitError("from_unit", f"a number in {from_unit} is the same in {unit}: leave `from_unit` out")
    before = offset / factor
    if Fraction(float(offset)) != offset and Fraction(float(before)) == before:
        return float(before), float(factor), 0.0
    return 0.0, float(factor), float(offset)


def _line(from_unit: str, unit: str, source: "Unit", target: "Unit") -> tuple[Fraction, Fraction]:
    """Factor and offset, which are all that a conversion has unless it is logarithmic."""
    curved = f"{from_unit} to {unit} is more than a factor: compute it by an expression, in a step"
    try:
        zero, one, two = (
            Fraction(_registry().Quantity(Fraction(number), source).to(target).magnitude)
            for number in (0, 1, 2)
        )
    except _UNREAD as error:
        apart = f"one of {from_unit} and {unit} is a difference (delta_degC is one), and the other is not"
        differ = _is_difference(source) or _is_difference(target)
        raise UnitError("from_unit", apart if differ else curved) from error
    if two - one != one - zero:
        raise UnitError("from_unit", curved)
    if not 1 / _LARGEST < one - zero < _LARGEST:
        raise UnitError("from_unit", f"{from_unit} to {unit} is no factor that anybody means")
    return one - zero, zero


def _is_difference(unit: "Unit") -> bool:
    return any(name.startswith("delta_") for name, _ in _items(unit))


def _unit(word: Word, said: str) -> "Unit":
    if len(said) > LONGEST or not _WRITTEN.fullmatch(said) or _HUGE.search(said):
        raise UnitError(word, f"{said[:LONGEST]!r} is no unit")
    try:
        found: Unit = _registry().parse_units(said)
        _registry().get_root_units(found)  # some are no unit only by then, as dB/m
    except _UNREAD as error:
        unknown = next(iter(getattr(error, "unit_names", None) or [said]))
        raise UnitError(word, f"no unit is called {unknown}{_nearest(str(unknown))}") from error
    return found


def _nearest(unknown: str) -> str:
    if power := _POWER.fullmatch(unknown):
        return f": write {power[1]}**{power[2]} for a power"
    registry = _registry()
    alike = registry.parse_unit_name(unknown, case_sensitive=False)
    symbols = [registry.get_symbol(prefix + name) for prefix, name, _ in alike]
    near = symbols or get_close_matches(unknown, dir(registry), n=1)
    return f", did you mean {near[0]}?" if near else ": write it as pint knows it, or leave `from_unit` out"


def _named(said: str, unit: "Unit") -> str:
    """A unit as it is written, and what its letters stand for."""
    names = [name for name, _ in _items(unit)]
    return f"{said} ({names[0]})" if len(names) == 1 and names[0] != said else said


def _items(unit: "Unit") -> list[tuple[str, Any]]:
    return sorted(_registry().Quantity(1, unit).unit_items())


def _roots(unit: "Unit") -> list[tuple[str, Any]]:
    """The units that it is made of; radians, counts and bits among them, which have no dimension."""
    return _items(_registry().get_root_units(unit)[1])


@cache
def _registry() -> Any:
    import pint  # half a second, and most pipelines convert nothing

    return pint.UnitRegistry(non_int_type=Fraction)
