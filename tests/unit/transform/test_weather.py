"""Heat index and dew point against published values."""

import math

import polars as pl
import pytest

from tasks.transform.weather import dew_point, heat_index

T, RH = pl.col("t"), pl.col("rh")


def one(expression: pl.Expr, temperature: float | None, humidity: float | None) -> float | None:
    frame = pl.DataFrame({"t": [temperature], "rh": [humidity]}, schema={"t": pl.Float64, "rh": pl.Float64})
    value: float | None = frame.select(expression).item()
    return value


def celsius(fahrenheit: float) -> float:
    return (fahrenheit - 32) / 1.8


# The heat index chart of the US National Weather Service: °F, %, °F. It is made without the adjustments.
CHART = [
    (80, 40, 80), (80, 60, 82), (80, 80, 84), (84, 50, 85), (84, 90, 98), (86, 40, 85),
    (90, 40, 91), (90, 50, 95), (90, 60, 100), (90, 70, 105), (90, 80, 113), (90, 90, 122),
    (90, 100, 132), (96, 50, 108), (100, 40, 109), (100, 50, 118), (100, 60, 129), (104, 40, 119),
    (104, 50, 131), (110, 40, 136),
]  # fmt: skip


@pytest.mark.parametrize(("temperature", "humidity", "felt"), CHART)
def test_the_chart_of_the_weather_service(temperature: float, humidity: float, felt: float) -> None:
    value = one(heat_index(T, RH), celsius(temperature), humidity)
    assert value is not None
    assert value * 1.8 + 32 == pytest.approx(felt, abs=1.0)


def test_dry_air_is_adjusted_downwards() -> None:
    """At 95 °F and 5 % the adjustment is -(13 - 5) / 4 = -2 °F."""
    regression = -42.379 + 2.04901523 * 95 + 10.14333127 * 5 - 0.22475541 * 475 - 0.00683783 * 9025
    regression += -0.05481717 * 25 + 0.00122874 * 9025 * 5 + 0.00085282 * 95 * 25 - 0.00000199 * 9025 * 25
    assert one(heat_index(T, RH), celsius(95), 5) == pytest.approx(celsius(regression - 2))


def test_humid_air_is_adjusted_upwards() -> None:
    """At 82 °F and 95 % the adjustment is (95 - 85) / 10 * (87 - 82) / 5 = 1 °F."""
    t, rh = 82, 95
    regression = -42.379 + 2.04901523 * t + 10.14333127 * rh - 0.22475541 * t * rh - 0.00683783 * t**2
    regression += -0.05481717 * rh**2 + 0.00122874 * t**2 * rh + 0.00085282 * t * rh**2
    regression -= 0.00000199 * t**2 * rh**2
    assert one(heat_index(T, RH), celsius(t), rh) == pytest.approx(celsius(regression + 1))


def test_a_value_does_not_depend_on_the_size_of_its_batch() -> None:
    frame = pl.DataFrame({"t": [n / 7 for n in range(-350, 700)], "rh": [n / 11 for n in range(1, 1051)]})
    derived = (heat_index(T, RH).alias("h"), dew_point(T, RH).alias("d"))
    alone = pl.concat([frame[n].select(derived) for n in range(frame.height)])
    assert frame.select(derived).equals(alone)


def test_a_mild_day_feels_as_the_simple_formula_says() -> None:
    """70 °F and 50 %: 0.5 (70 + 61 + 2 * 1.2 + 50 * 0.094) = 69.05 °F."""
    assert one(heat_index(T, RH), celsius(70), 50) == pytest.approx(celsius(69.05))


@pytest.mark.parametrize("temperature", [-50.0, -10.0, 4.0])
def test_in_the_cold_it_is_the_temperature_itself(temperature: float) -> None:
    assert one(heat_index(T, RH), temperature, 80) == pytest.approx(temperature)


# Saturation over water: dew points of common psychrometric tables: °C, %, °C.
DEW = [
    (20, 50, 9.3),
    (25, 60, 16.7),
    (30, 80, 26.2),
    (10, 30, -6.8),
    (0, 100, 0.0),
    (35, 20, 8.7),
    (25, 100, 25.0),
]


@pytest.mark.parametrize(("temperature", "humidity", "dew"), DEW)
def test_dew_points(temperature: float, humidity: float, dew: float) -> None:
    assert one(dew_point(T, RH), temperature, humidity) == pytest.approx(dew, abs=0.1)


def test_air_without_water_has_no_dew_point() -> None:
    assert one(dew_point(T, RH), 20, 0) is None


@pytest.mark.parametrize(("temperature", "humidity"), [(None, 50.0), (30.0, None), (None, None)])
def test_what_is_not_known_is_null(temperature: float | None, humidity: float | None) -> None:
    assert one(heat_index(T, RH), temperature, humidity) is None
    assert one(dew_point(T, RH), temperature, humidity) is None


def test_every_value_the_contract_takes_gives_a_finite_number() -> None:
    grid = pl.DataFrame({"t": range(-50, 101)}).join(pl.DataFrame({"rh": range(1, 101)}), how="cross")
    values = grid.select(h=heat_index(T.cast(pl.Float64), RH), d=dew_point(T.cast(pl.Float64), RH))
    assert values.select(pl.all().is_finite().all()).row(0) == (True, True)


def test_the_dew_point_agrees_with_a_rooms_humidity_ratio(
    room_samples: list[tuple[float, float, float]],
) -> None:
    """The ratio was computed by others, from the vapour pressure that the dew point stands for."""
    frame = pl.DataFrame(room_samples, ["t", "rh", "ratio"], orient="row")
    for dew, ratio in frame.select(dew_point(T, RH), "ratio").rows():
        vapour = 6.1094 * math.exp(17.625 * dew / (243.04 + dew))
        assert 0.622 * vapour / (1013.25 - vapour) == pytest.approx(ratio, rel=0.02)
