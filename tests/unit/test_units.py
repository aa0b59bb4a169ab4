"""Units: what a number in one is in another, and what nobody means."""

import re
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.units import UnitError, conversion


def converted(number: float, from_unit: str, unit: str) -> float:
    before, factor, after = conversion(from_unit, unit)
    return (number + before) * factor + after


@pytest.mark.parametrize(
    ("number", "from_unit", "unit", "expected"),
    [
        (32, "°F", "°C", 0),
        (212, "°F", "°C", 100),
        (-40, "degF", "degC", -40),
        (98.6, "°F", "°C", 37),
        (20, "°C", "°F", 68),
        (293.15, "K", "°C", 20),
        (20, "°C", "K", 293.15),
        (9, "delta_degF", "delta_degC", 5),
        (9, "Δ°F", "K", 5),
        (1.8, "°F/min", "°C/min", 1),
        (1, "bar", "hPa", 1000),
        (36, "km/h", "m/s", 10),
        (60, "rpm", "°/s", 360),
        (5, "%", "ppm", 50_000),
        (1, "mg/m³", "µg/m^3", 1000),
        (1, "mg m**-3", "\u03bcg/m³", 1000),
        (1, "mS/cm", "S/m", 0.1),
        (60, "l/min", "m³/h", 3.6),
    ],
)
def test_a_number_is_the_same_in_another_unit(
    number: float, from_unit: str, unit: str, expected: float
) -> None:
    assert converted(number, from_unit, unit) == pytest.approx(expected, rel=1e-15, abs=1e-15)


def test_what_is_added_is_added_where_it_is_exact() -> None:
    assert conversion("°F", "°C") == (-32.0, 5 / 9, 0.0)
    assert conversion("°C", "°F") == (0.0, 1.8, 32.0)


@pytest.mark.parametrize(
    ("from_unit", "unit", "why"),
    [
        # pint knows them, and none of them is meant
        ("rpm", "Hz", "counts angles, events or bits"),
        ("Hz", "rpm", "counts angles, events or bits"),
        ("count/min", "Hz", "counts angles, events or bits"),
        ("bit/s", "1/s", "counts angles, events or bits"),
        ("deg", "%", "counts angles, events or bits"),
        ("lux", "cd/m²", "counts angles, events or bits"),
        ("dB", "dimensionless", "more than a factor: compute it by an expression"),
        ("dBm", "mW", "more than a factor"),
        ("delta_degF", "°C", "is a difference"),
        ("°C", "delta_degC", "is a difference"),
        ("mV/√Hz", "V/√Hz", "'mV/√Hz' is no unit"),  # pint leaves the root out
        ("C", "°C", "C (coulomb) and °C (degree_Celsius) do not measure the same"),
        ("ppm", "mg/m³", "do not measure the same"),
        ("pH", "1", "pH (picohenry) and 1 do not measure the same"),
        # what is written is not what was meant
        ("celcius", "°F", "no unit is called celcius, did you mean celsius?"),
        ("hpa", "Pa", "no unit is called hpa, did you mean hPa?"),
        ("mg/m3", "µg/m³", "no unit is called m3: write m**3 for a power"),
        ("m", "klometer", "no unit is called klometer, did you mean "),
        ("°F", "°F", "a number in °F is the same in °F: leave `from_unit` out"),
        ("mbar", "hPa", "a number in mbar is the same in hPa"),
        ("3 m", "cm", "no unit is called 3 m"),
        ("", "m", "'' is no unit"),
        ("m" * 90, "m", "is no unit"),
        ("km**30", "m**30", "is no factor that anybody means"),
        ("9**9**9**9", "m", "is no unit"),
        ("m**9999999", "km**9999999", "is no unit"),
    ],
)
def test_what_nobody_means_is_refused(from_unit: str, unit: str, why: str) -> None:
    with pytest.raises(UnitError, match=re.escape(why)):
        conversion(from_unit, unit)


PARTS = st.sampled_from(
    [*"ms/*^()²³·. 0123e_°", "**", "⁻¹", "°C", "°F", "K", "dB", "rpm", "%", "delta_", "µ", "lambda", "if"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=7).map("".join))
def test_whatever_is_written_is_a_unit_or_refused_in_a_sentence(written: str) -> None:
    with suppress(UnitError):
        assert len(conversion(written, "furlong")) == 3
    with suppress(UnitError):
        assert len(conversion("furlong", written)) == 3


def test_who_converts_nothing_does_not_wait_for_pint() -> None:
    code = (
        "import sys; from pathlib import Path; from flows import catalog; "
        "catalog.read_directories((catalog.SHIPPED,)); print('pint' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
