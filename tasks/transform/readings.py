"""Records of one table: from the messages as received to its rows, and what was rejected.

    payloads ─decode─▶ cells ─rules─▶ good ─keys─▶ one row per key ─enrich─▶ accepted
                 └──────────┴───────────────┴─────▶ rejected

Row-local but for keys that come twice in a batch, and without a clock: `received_at` is the batch's. The same
message gets the same verdict in any batch. What is added is what the contract derives
(`derived.py`).
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from lineage import naming
from lineage.columns import named
from tasks.batch import ORIGIN_SCHEMA, REJECTED_SCHEMA, RawBatch, Reference, Refined
from tasks.canonical import canonical_key
from tasks.contract import Contract
from tasks.transform import cells, chunk, keys, timestamps
from tasks.transform.columns import Columns, decoded, edges_of, validated
from tasks.transform.decode import Decoder
from tasks.transform.derived import COORDINATES, PLACE, REGISTER, SOURCE_NAME, WEATHER
from tasks.transform.place import CELL, PLACE_SCHEMA, PlaceFinder, cell, libraries
from tasks.transform.reject import PAYLOAD_SENTENCES, rejected
from tasks.transform.validate import RULES, Rule, fill_defaults, rules_of, split
from tasks.transform.weather import dew_point, heat_index

TOPIC: Final = r"^sensors/[^/+#]+/readings$"
DEVICES: Final = pl.Schema({"device_id": pl.String, "name": pl.String, "model": pl.String, "site": pl.String})
"""The device register, one row per device: `reference.frames["devices"]`."""

_PLACES: Final = naming.library("reverse_geocode")
_DEVICES: Final = naming.postgres("devices")
_NONE: Final = REJECTED_SCHEMA.to_frame()
_LOCATION: Final = "message.location"
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
    batch: RawBatch, reference: Reference, decoder: Decoder, source_name: str, places: PlaceFinder
) -> Refined:
    """Decode, validate, deduplicate and enrich one batch of messages, or one part of a file."""
    contract, decoded = decoder.contract, chunk.decode_batch(batch, decoder)
    readings = timestamps.parse(_located(chunk.read_again(decoded.records, batch), batch), contract)
    rules = [*_topic_rules(batch.dataset, contract), *rules_of(contract, batch.received_at, readings.schema)]
    good, bad = split(readings, rules)
    unique = keys.deduplicate(keys.hash_inputs(good, contract), contract)
    accepted = _enriched(unique.kept, reference, contract, source_name, places)
    sentences = PAYLOAD_SENTENCES | {rule.name: rule.sentence for rule in rules} | decoded.sentences
    refused = pl.concat(
        [
            _undecodable(chunk.read_again(decoded.undecodable, batch), batch, sentences, contract),
            _invalid(bad, sentences, contract),
            _conflicting(unique.conflicts, sentences, contract),
        ]
    )
    return Refined(
        accepted={contract.table: chunk.in_message(accepted, batch)},
        rejected=chunk.in_message(refused.sort(cells.SEQUENCE), batch),
        duplicates=unique.duplicates,
        filtered=unique.superseded.height,
        read=accepted.height + refused.height + unique.duplicates + unique.superseded.height,
    )


def columns(contract: Contract, source: str, source_name: str) -> Columns:
    """What each column of the table comes from, in a batch of `source` (a URI)."""
    rules = _topic_rules(source, contract)
    inputs = validated(decoded(contract, source, more=[_LOCATION] if rules else []), contract, rules)
    devices = named(DEVICES.to_frame().lazy(), _DEVICES)
    places = named(PLACE_SCHEMA.to_frame().lazy(), _PLACES)
    return {
        contract.table: edges_of(enrich(inputs, devices, places, source_name, contract), contract, source)
    }


def _is_topic_of_device(source: str, contract: Contract) -> bool:
    """Whether a message's topic must be that of the device it is of."""
    return source.startswith(naming.MQTT) and "device_id" in contract.names


def _topic_rules(source: str, contract: Contract) -> list[Rule]:
    return topic_rules() if _is_topic_of_device(source, contract) else []


def topic_rules() -> list[Rule]:
    """The topic must be a device's own, and name the device that the payload names."""
    location, device = pl.col(_LOCATION), pl.col("device_id")
    fits = location.str.contains(TOPIC).fill_null(False)
    own = location == pl.concat_str(pl.lit("sensors/"), device, pl.lit("/readings"))
    return [
        Rule("topic.pattern", ~fits, "the topic is not sensors/{device_id}/readings"),
        Rule("topic.device", fits & ~own, "the topic names another device than the message"),
    ]


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


def _located(records: pl.DataFrame, batch: RawBatch) -> pl.DataFrame:
    """With each record's topic, where it came by one."""
    if not batch.dataset.startswith(naming.MQTT):
        return records
    return records.with_columns(batch.messages["location"].gather(records[cells.SEQUENCE]).alias(_LOCATION))


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
    refused: pl.DataFrame, batch: RawBatch, sentences: dict[str, str], contract: Contract
) -> pl.DataFrame:
    """Messages that are no record; a wrong topic is named as well."""
    if refused.is_empty():
        return _NONE
    if not _is_topic_of_device(batch.dataset, contract):
        listed = refused.with_columns(pl.concat_list("rule").alias(RULES))
        return rejected(listed, "decode", sentences, contract.table)
    fits = batch.messages["location"].gather(refused[cells.SEQUENCE]).str.contains(TOPIC)
    topic = pl.when(~pl.col("fits")).then(pl.lit("topic.pattern"))
    listed = refused.with_columns(fits.fill_null(False).alias("fits")).with_columns(
        pl.concat_list(pl.col("rule"), topic).list.drop_nulls().alias(RULES)
    )
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
