"""Records of one table, judged: from decoded cells to one row per key, and what becomes of the others.

    cells ─reading rules─▶ values ─rules─▶ good ─steps, rules─▶ made ─keys─▶ one row per key
      └──────────────────────┴────────────────┴──────────────────┴────▶ rejected, filtered

Every transform judges by it: what is special of a source is its decoding in front of the cells, and what is
derived of the values (`records.py`, `experiments.py`). Row-local but for keys that come twice in a batch,
and without a clock: `received_at` is the batch's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from tasks.batch import FILTERED_SCHEMA, REJECTED_SCHEMA, RawBatch, Reference, Refined
from tasks.canonical import canonical_key
from tasks.contract import UTC_MICROS, Contract
from tasks.decode import cells, envelope
from tasks.decode.messages import Decoded
from tasks.decode.payload import PAYLOAD_SENTENCES
from tasks.pattern import Pattern
from tasks.transform import keys, reading_rules
from tasks.transform.columns import ANY_TIME, decoded, kept, validated
from tasks.transform.reading_rules import LOCATION, RECEIVED, origin_of
from tasks.transform.reject import rejected
from tasks.transform.steps.kinds import Steps
from tasks.transform.validate import RULES, Rule, fill_defaults, rules_of, rules_of_set, split


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`kept`: good values, one row per key, with `sequence` and `input_hash`; the others are not among them.

    `superseded`: how many records a newer one of the batch replaced.
    """

    kept: pl.DataFrame = field(default_factory=pl.DataFrame)
    rejected: pl.DataFrame = field(default_factory=REJECTED_SCHEMA.to_frame)
    left_out: pl.DataFrame = field(default_factory=FILTERED_SCHEMA.to_frame)  # by a step
    duplicates: int = 0
    superseded: int = 0

    def at(self, place: Callable[[pl.DataFrame], pl.DataFrame]) -> "Judged":
        """With every record (`sequence`, n) where it stands in the batch (`sequence`, `part`)."""
        return replace(
            self, kept=place(self.kept), rejected=place(self.rejected), left_out=place(self.left_out)
        )


def refined(accepted: Mapping[str, pl.DataFrame], judged: Sequence[Judged]) -> Refined:
    """The outcome of a batch: the rows of its tables, and what became of every other record."""
    refused = pl.concat([each.rejected for each in judged])
    left_out = pl.concat([each.left_out for each in judged])
    duplicates = sum(each.duplicates for each in judged)
    filtered = sum(each.superseded for each in judged) + left_out.height
    stored = sum(rows.height for rows in accepted.values())
    return Refined(
        accepted=accepted,
        rejected=refused,
        duplicates=duplicates,
        filtered=filtered,
        read=stored + refused.height + duplicates + filtered,
        filtered_rows=left_out,
    )


def judge(
    values: pl.DataFrame,
    found: Decoded,
    batch: RawBatch,
    contract: Contract,
    *,
    rules: Sequence[Rule] = (),
    pattern: Pattern | None = None,
    steps: Steps | None = None,
    reference: Reference | None = None,
    seen: Sequence[str] = (),
) -> Judged:
    """What becomes of records by their `values` (`reading_rules.values`, n); of `found` those that are none.

    `rules` are those of the source, beside the contract's; `seen`: columns that are not read and belong all
    the same to what tells a record from what came before (`input_hash`).
    """
    rules = [
        *reading_rules.location_rules(pattern, contract),
        *rules_of(contract, batch.received_at, values.schema),
        *rules,
    ]
    good, bad = split(values, rules)
    unfit, left_out = None, FILTERED_SCHEMA.to_frame()
    if steps:
        of_set = rules_of_set(contract, batch.received_at)
        made, left_out = _stepped(good, steps, contract, reference or Reference(frames={}), seen)
        good, unfit = split(made, of_set)
        rules += of_set
    unique = keys.deduplicate(keys.hash_inputs(good, contract, seen), contract)
    sentences = PAYLOAD_SENTENCES | {rule.name: rule.sentence for rule in rules} | found.sentences
    refused = pl.concat(
        [
            _undecodable(found.undecodable, batch, sentences, contract, pattern),
            _invalid(bad, sentences, contract, seen),
            *([_invalid(unfit, sentences, contract, seen)] if unfit is not None else []),
            _conflicting(unique.conflicts, sentences, contract),
        ]
    )
    return Judged(
        kept=unique.kept,
        rejected=refused.sort(cells.SEQUENCE),
        left_out=left_out,
        duplicates=unique.duplicates,
        superseded=unique.superseded.height,
    )


def _stepped(
    good: pl.DataFrame, steps: Steps, contract: Contract, reference: Reference, seen: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows with what the steps set, and those that the steps leave out (FILTERED_SCHEMA)."""
    done = steps.run(fill_defaults(good, contract), reference)
    made = done.select(steps.sets).get_columns()
    if done.height == good.height:
        return good.hstack(made), FILTERED_SCHEMA.to_frame()
    goes_on = pl.col(cells.SEQUENCE).is_in(done[cells.SEQUENCE].implode())
    left_out = keys.hash_inputs(good.filter(~goes_on), contract, seen)
    key = canonical_key(steps.with_key(fill_defaults(left_out, contract)), contract)
    told = left_out.with_columns(key, part=pl.lit(None), table=pl.lit(contract.table))
    filtered = told.select(pl.col(name).cast(dtype) for name, dtype in FILTERED_SCHEMA.items())
    return good.filter(goes_on).hstack(made), filtered


def _undecodable(
    refused: pl.DataFrame,
    batch: RawBatch,
    sentences: Mapping[str, str],
    contract: Contract,
    pattern: Pattern | None,
) -> pl.DataFrame:
    """Messages that are no record; a wrong topic is named as well."""
    if refused.is_empty():
        return REJECTED_SCHEMA.to_frame()
    broken = pl.lit(None, pl.String)
    if pattern is not None and batch.layout is None:
        refused = refused.with_columns(reading_rules.location(refused[cells.SEQUENCE], batch))
        broken = pl.when(~pattern.fits(pl.col(LOCATION))).then(pl.lit(f"{pattern.kind}.pattern"))
    listed = refused.with_columns(pl.concat_list(pl.col("rule"), broken).list.drop_nulls().alias(RULES))
    return rejected(listed, "decode", sentences, contract.table)


def _invalid(
    bad: pl.DataFrame, sentences: Mapping[str, str], contract: Contract, seen: Sequence[str]
) -> pl.DataFrame:
    """Records that break a rule. Their input has a hash only where all of it could be read."""
    if bad.is_empty():
        return REJECTED_SCHEMA.to_frame()
    whole = pl.all_horizontal(
        pl.lit(True), *(pl.col(name).is_null() for name in bad.columns if cells.is_fault(name))
    )
    hashed = keys.hash_inputs(bad, contract, seen).with_columns(
        pl.when(whole).then(pl.col(keys.INPUT_HASH)).alias(keys.INPUT_HASH), canonical_key(bad, contract)
    )
    return rejected(hashed, "validate", sentences, contract.table)


def _conflicting(conflicts: pl.DataFrame, sentences: Mapping[str, str], contract: Contract) -> pl.DataFrame:
    """Records whose key another record of the batch took first."""
    if conflicts.is_empty():
        return REJECTED_SCHEMA.to_frame()
    listed = conflicts.with_columns(
        pl.lit([keys.CONFLICT], pl.List(pl.String)).alias(RULES), canonical_key(conflicts, contract)
    )
    return rejected(listed, "load", sentences, contract.table)


def plan_of_values(
    contract: Contract,
    source: str,
    *,
    prefix: str = "",
    pattern: Pattern | None = None,
    more: Mapping[str, pl.DataType] = {},
) -> pl.LazyFrame:
    """The empty plan of `reading_rules.values`, from the columns of `source` (a URI; paths after `prefix`).

    `more`: columns of the source that decoding hands on under their own names.
    """
    inputs = contract.inputs
    beside_it: dict[str, pl.DataType] = {LOCATION: pl.String()} if pattern else {}
    if any(column.is_arrival for column in inputs):
        beside_it[RECEIVED] = UTC_MICROS
    read = decoded(contract, source, prefix, beside_it | envelope.schema(contract) | dict(more))
    beside = {c.name: origin_of(c, c.metadata, pattern) for c in inputs if c.metadata}
    constant = {c.name: pl.lit(c.constant) for c in inputs if c.constant is not None}
    converted = {c.name: reading_rules.in_unit(c) for c in inputs if c.conversion}
    return read.with_columns(**beside).with_columns(**constant, **converted)


def plan(
    values: pl.LazyFrame,
    contract: Contract,
    *,
    rules: Sequence[Rule] = (),
    pattern: Pattern | None = None,
    steps: Steps | None = None,
) -> pl.LazyFrame:
    """The plan of `judge` from that of its values, for the lineage of columns."""
    good = validated(values, contract, [*reading_rules.location_rules(pattern, contract), *rules])
    return kept(steps.plan(good), rules_of_set(contract, ANY_TIME)) if steps else good
