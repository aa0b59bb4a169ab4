"""Records of one table: from the messages as received to its rows, and what was rejected.

    payloads ─decode─▶ cells ─reading─▶ values ─rules─▶ good ─steps, rules─▶ made ─keys─▶ one row per key
                 └─────────────────────────────────┴────────────────┴───────────────┴───▶ rejected   │
                                                          └─────▶ filtered     accepted ◀─ enrich ───┘

Row-local but for keys that come twice in a batch, and without a clock: `received_at` is the batch's. The same
message gets the same verdict in any batch. What is added is what the contract derives
(`derived.py`).
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from lineage import naming
from lineage.columns import named
from tasks.batch import FILTERED_SCHEMA, ORIGIN_SCHEMA, REJECTED_SCHEMA, RawBatch, Reference, Refined
from tasks.canonical import canonical_key
from tasks.contract import UTC_MICROS, Contract
from tasks.decode import cells, chunk, envelope
from tasks.decode.messages import Decoder
from tasks.decode.payload import PAYLOAD_SENTENCES
from tasks.pattern import Pattern
from tasks.transform import keys, reading_rules
from tasks.transform.columns import ANY_TIME, Columns, decoded, edges_of, kept, validated
from tasks.transform.derived import COORDINATES, PLACE, REGISTER, SOURCE_NAME, WEATHER
from tasks.transform.place import CELL, PLACE_SCHEMA, PlaceFinder, cell, libraries
from tasks.transform.reading_rules import LOCATION, RECEIVED, origin_of
from tasks.transform.reject import rejected
from tasks.transform.steps.kinds import Steps
from tasks.transform.validate import RULES, fill_defaults, rules_of, rules_of_set, split
from tasks.transform.weather import dew_point, heat_index

DEVICES: Final = pl.Schema({"device_id": pl.String, "name": pl.String, "model": pl.String, "site": pl.String})
"""The device register, one row per device: `reference.frames["devices"]`."""

_PLACES: Final = naming.library("reverse_geocode")
_DEVICES: Final = naming.postgres("devices")
_NONE: Final = REJECTED_SCHEMA.to_frame()
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
    readings = reading_rules.values(chunk.read_again(decoded.records, batch), batch, contract, pattern)
    rules = [
        *reading_rules.location_rules(pattern, contract),
        *rules_of(contract, batch.received_at, readings.schema),
    ]
    good, bad = split(readings, rules)
    unfit, left_out = None, FILTERED_SCHEMA.to_frame()
    if steps:
        of_set = rules_of_set(contract, batch.received_at)
        made, left_out = _stepped(good, steps, contract, reference)
        good, unfit = split(made, of_set)
        rules += of_set
    unique = keys.deduplicate(keys.hash_inputs(good, contract), contract)
    accepted = _enriched(unique.kept, reference, contract, source_name, places)
    sentences = PAYLOAD_SENTENCES | {rule.name: rule.sentence for rule in rules} | decoded.sentences
    refused = pl.concat(
        [
            _undecodable(chunk.read_again(decoded.undecodable, batch), batch, sentences, contract, pattern),
            _invalid(bad, sentences, contract),
            *([_invalid(unfit, sentences, contract)] if unfit is not None else []),
            _conflicting(unique.conflicts, sentences, contract),
        ]
    )
    return Refined(
        accepted={contract.table: chunk.in_message(accepted, batch)},
        rejected=chunk.in_message(refused.sort(cells.SEQUENCE), batch),
        duplicates=unique.duplicates,
        filtered=unique.superseded.height + left_out.height,
        read=accepted.height
        + refused.height
        + unique.duplicates
        + unique.superseded.height
        + left_out.height,
        filtered_rows=chunk.in_message(left_out, batch),
    )


def _stepped(
    good: pl.DataFrame, steps: Steps, contract: Contract, reference: Reference
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows with what the steps set, and those that the steps leave out (FILTERED_SCHEMA)."""
    done = steps.run(fill_defaults(good, contract), reference.tables)
    made = done.select(steps.sets).get_columns()
    if done.height == good.height:
        return good.hstack(made), FILTERED_SCHEMA.to_frame()
    goes_on = pl.col(cells.SEQUENCE).is_in(done[cells.SEQUENCE].implode())
    left_out = keys.hash_inputs(good.filter(~goes_on), contract)
    told = left_out.with_columns(
        canonical_key(left_out, contract), part=pl.lit(None), table=pl.lit(contract.table)
    )
    filtered = told.select(pl.col(name).cast(dtype) for name, dtype in FILTERED_SCHEMA.items())
    return good.filter(goes_on).hstack(made), filtered


def columns(
    contract: Contract,
    source: str,
    source_name: str,
    pattern: Pattern | None = None,
    steps: Steps | None = None,
) -> Columns:
    """What each column of the table comes from, in a batch of `source` (a URI)."""
    beside = {
        column.name: origin_of(column, column.metadata, pattern)
        for column in contract.inputs
        if column.metadata
    }
    rules = list(reading_rules.location_rules(pattern, contract))
    more: dict[str, pl.DataType] = {LOCATION: pl.String()} if pattern else {}
    if any(column.is_arrival for column in contract.inputs):
        more[RECEIVED] = UTC_MICROS
    more |= envelope.schema(contract)
    read = decoded(contract, source, more=more).with_columns(**beside)
    constant = {
        column.name: pl.lit(column.constant) for column in contract.inputs if column.constant is not None
    }
    converted = {
        column.name: reading_rules.in_unit(column) for column in contract.inputs if column.conversion
    }
    inputs = validated(read.with_columns(**constant, **converted), contract, rules)
    if steps:
        inputs = kept(steps.plan(inputs), rules_of_set(contract, ANY_TIME))
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


def _undecodable(
    refused: pl.DataFrame,
    batch: RawBatch,
    sentences: dict[str, str],
    contract: Contract,
    pattern: Pattern | None,
) -> pl.DataFrame:
    """Messages that are no record; a wrong topic is named as well."""
    if refused.is_empty():
        return _NONE
    broken = pl.lit(None, pl.String)
    if pattern is not None and batch.layout is None:
        refused = refused.with_columns(reading_rules.location(refused[cells.SEQUENCE], batch))
        broken = pl.when(~pattern.fits(pl.col(LOCATION))).then(pl.lit(f"{pattern.kind}.pattern"))
    listed = refused.with_columns(pl.concat_list(pl.col("rule"), broken).list.drop_nulls().alias(RULES))
    return rejected(listed, "decode", sentences, contract.table)


def _invalid(bad: pl.DataFrame, sentences: dict[str, str], contract: Contract) -> pl.DataFrame:
    """Records that break a rule. Their input has a hash only where all of it could be read."""
    if bad.is_empty():
        return _NONE
    whole = pl.all_horizontal(
        pl.lit(True), *(pl.col(name).is_null() for name in bad.columns if cells.is_fault(name))
    )
    hashed = keys.hash_inputs(bad, contract).with_columns(
        pl.when(whole).then(pl.col(keys.INPUT_HASH)).alias(keys.INPUT_HASH), canonical_key(bad, contract)
    )
    return rejected(hashed, "validate", sentences, contract.table)


def _conflicting(conflicts: pl.DataFrame, sentences: dict[str, str], contract: Contract) -> pl.DataFrame:
    """Records whose key another record of the batch took first."""
    if conflicts.is_empty():
        return _NONE
    listed = conflicts.with_columns(
        pl.lit([keys.CONFLICT], pl.List(pl.String)).alias(RULES), canonical_key(conflicts, contract)
    )
    return rejected(listed, "load", sentences, contract.table)
