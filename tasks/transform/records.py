"""Records of one table: from the messages as received to its rows, and what was rejected.

    payloads ─decode─▶ cells ─judge─▶ one row per key ─enrich─▶ accepted
                                └───▶ rejected, filtered

The same message gets the same verdict in any batch (`judge.py`). What is added is what the contract derives
(`derived.py`).
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import polars as pl

from lineage import naming
from lineage.columns import named
from tasks.batch import ORIGIN_SCHEMA, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.decode import chunk
from tasks.decode.messages import Decoder
from tasks.pattern import Pattern
from tasks.transform import reading_rules
from tasks.transform.columns import Columns, edges_of
from tasks.transform.derived import COORDINATES, PLACE, REGISTER, SOURCE_NAME, WEATHER
from tasks.transform.judge import judge, plan, plan_of_values, refined
from tasks.transform.place import CELL, PLACE_SCHEMA, PlaceFinder, cell, libraries
from tasks.transform.steps.kinds import Steps
from tasks.transform.validate import fill_defaults
from tasks.transform.weather import dew_point, heat_index

DEVICES: Final = pl.Schema({"device_id": pl.String, "name": pl.String, "model": pl.String, "site": pl.String})
"""The device register, one row per device: `reference.frames["devices"]`."""

_PLACES: Final = naming.library("reverse_geocode")
_DEVICES: Final = naming.postgres("devices")
_WEATHER: Final = tuple(pl.col(name) for name in WEATHER)
_INDICES: Final = {"heat_index": heat_index(*_WEATHER), "dew_point": dew_point(*_WEATHER)}
_HERE: Final = (".latitude_cell", ".longitude_cell")  # no contract's column has a dot in its name


def finds_places(contract: Contract) -> bool:
    """Whether the contract wants places: their data takes a second and 60 MB to load."""
    return not set(contract.derived).isdisjoint(PLACE)


def looked_up(contract: Contract, reference: Reference) -> Mapping[str, str]:
    """Dataset → the state of it that derived columns are looked up in (`Refined.looked_up`)."""
    found = {_PLACES: libraries()} if finds_places(contract) else {}
    if "devices" in reference.frames and not REGISTER.keys().isdisjoint(contract.derived):
        found[_DEVICES] = reference.digests["devices"]
    return found


def refine(
    batch: RawBatch,
    reference: Reference,
    decoder: Decoder,
    source_name: str,
    places: PlaceFinder,
    pattern: Pattern | None = None,
    steps: Steps | None = None,
) -> Refined:
    """Decode, validate, deduplicate and enrich one batch of messages, or one part of a file."""
    contract, decoded = decoder.contract, chunk.decode_batch(batch, decoder)
    values = reading_rules.values(decoded.records, batch, contract, pattern)
    judged = judge(values, decoded, batch, contract, pattern=pattern, steps=steps, reference=reference)
    accepted = _enriched(judged.kept, reference, contract, source_name, places)
    rows = {contract.table: chunk.in_message(accepted, batch)}
    return refined(rows, [judged.at(partial(chunk.in_message, batch=batch))])


def columns(
    contract: Contract,
    source: str,
    source_name: str,
    pattern: Pattern | None = None,
    steps: Steps | None = None,
) -> Columns:
    """What each column of the table comes from, in a batch of `source` (a URI)."""
    values = plan_of_values(contract, source, pattern=pattern)
    inputs = plan(values, contract, pattern=pattern, steps=steps)
    devices = named(DEVICES.to_frame().lazy(), _DEVICES)
    places = named(PLACE_SCHEMA.to_frame().lazy(), _PLACES)
    return {
        contract.table: edges_of(enrich(inputs, devices, places, source_name, contract), contract, source)
    }


def enrich(
    readings: pl.LazyFrame, devices: pl.LazyFrame, places: pl.LazyFrame, source_name: str, contract: Contract
) -> pl.LazyFrame:
    """Add the contract's derived columns to valid readings; all others pass, and rows keep their order.

    `devices` is the register (DEVICES), `places` one row per cell (`place.PLACE_SCHEMA`). What neither knows
    is null.
    """
    wanted = contract.derived  # an input may have such a name too, and is left as it came
    if here := [name for name in PLACE if name in wanted]:
        located = readings.with_columns(
            cell(pl.col(name)).alias(at) for name, at in zip(COORDINATES, _HERE, strict=True)
        )
        found = places.select(*CELL, *here)
        readings = located.join(found, left_on=_HERE, right_on=CELL, how="left", maintain_order="left").drop(
            _HERE
        )
    if named_by := {name: pl.col(column) for name, column in REGISTER.items() if name in wanted}:
        register = devices.select("device_id", **named_by)
        readings = readings.join(register, on="device_id", how="left", maintain_order="left")
    added = {**_INDICES, SOURCE_NAME: pl.lit(source_name)}
    return readings.with_columns(**{name: value for name, value in added.items() if name in wanted})


def cells_of(readings: pl.DataFrame) -> pl.DataFrame:
    """The distinct cells (`place.CELL`) of readings."""
    latitude, longitude = (cell(pl.col(name)) for name in COORDINATES)
    return readings.select(latitude.alias(CELL[0]), longitude.alias(CELL[1])).unique()


def _enriched(
    kept: pl.DataFrame, reference: Reference, contract: Contract, source_name: str, places: PlaceFinder
) -> pl.DataFrame:
    """The accepted rows in contract order, then where they came from."""
    filled = fill_defaults(kept, contract)
    found = places.find(cells_of(filled)) if finds_places(contract) else PLACE_SCHEMA.to_frame()
    devices = reference.frames.get("devices", DEVICES.to_frame())
    plan = enrich(filled.lazy(), devices.lazy(), found.lazy(), source_name, contract)
    schema = {**contract.row_schema, **ORIGIN_SCHEMA}
    rows = plan.with_columns(part=pl.lit(None)).select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    )
    return rows.collect(engine="in-memory")  # faster than streaming for what fits a batch
