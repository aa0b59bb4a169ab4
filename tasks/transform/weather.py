"""What temperature and humidity mean for people and for surfaces, as Polars expressions.

No expression here divides by a constant. Polars divides a column by a constant by multiplying with its
reciprocal, but not where the column is one row long: the last bit would depend on the size of the batch.
"""

from typing import Final

import polars as pl

_FIVE_NINTHS: Final = 5.0 / 9.0


def heat_index(temperature: pl.Expr, humidity: pl.Expr) -> pl.Expr:
    """The heat index in °C of an air temperature in °C and a relative humidity in %; null where either is.

    The algorithm of the US National Weather Service (https://www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml):
    Steadman's simple formula, already averaged with the temperature, and from 80 °F on the regression of
    Rothfusz (NWS Technical Attachment SR 90-23, 1990) with its two adjustments, for dry and for humid air. At
    40 °F and below it is the air temperature itself, as in the service's own calculator.
    """
    fahrenheit = temperature * 1.8 + 32.0
    simple = 0.5 * (fahrenheit + 61.0 + (fahrenheit - 68.0) * 1.2 + humidity * 0.094)
    felt = (
        pl.when(fahrenheit.is_null() | humidity.is_null())
        .then(None)
        .when(fahrenheit <= 40.0)
        .then(fahrenheit)
        .when(simple < 80.0)
        .then(simple)
        .otherwise(_rothfusz(fahrenheit, humidity))
    )
    return (felt - 32.0) * _FIVE_NINTHS


def _rothfusz(t: pl.Expr, rh: pl.Expr) -> pl.Expr:
    """°F of t in °F and rh in %, adjusted where the regression alone is known to be off."""
    regression = (
        -42.379
        + 2.04901523 * t
        + 10.14333127 * rh
        - 0.22475541 * t * rh
        - 0.00683783 * t * t
        - 0.05481717 * rh * rh
        + 0.00122874 * t * t * rh
        + 0.00085282 * t * rh * rh
        - 0.00000199 * t * t * rh * rh
    )
    dry = (13.0 - rh) * 0.25 * ((17.0 - (t - 95.0).abs()) * (1.0 / 17.0)).clip(lower_bound=0.0).sqrt()
    humid = (rh - 85.0) * (87.0 - t) * 0.02
    adjustment = (
        pl.when((rh < 13.0) & t.is_between(80.0, 112.0))
        .then(-dry)
        .when((rh > 85.0) & t.is_between(80.0, 87.0))
        .then(humid)
        .otherwise(0.0)
    )
    return regression + adjustment


def dew_point(temperature: pl.Expr, humidity: pl.Expr) -> pl.Expr:
    """The dew point over water in °C of an air temperature in °C and a relative humidity in %.

    The Magnus formula with the constants of Alduchov and Eskridge, "Improved Magnus form approximation of
    saturation vapor pressure", J. Appl. Meteor. 35 (1996), 601-609: 17.625 and 243.04 °C, good to 0.4 % of
    the vapour pressure from -40 to 50 °C. Null where either is null or a hundredth of the humidity is 0: dry
    air has none.
    """
    a, b = 17.625, 243.04
    gamma = (humidity * 0.01).log() + a * temperature / (b + temperature)
    return pl.when(humidity * 0.01 > 0.0).then(b * gamma / (a - gamma))
