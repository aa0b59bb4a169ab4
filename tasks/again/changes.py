"""What today's code makes of a batch, against what stands of it: which rows, and which columns, differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tasks.canonical import canonical_key
from tasks.contract import Contract
from tasks.load.standing import LEFT, STANDS

EXAMPLES = 3
"""Changed rows that are shown."""
INPUT = "input_hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One changed row: column → (before, today)."""

    key: str
    columns: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Of one table. `columns`: how many rows changed in each; one row may count in several."""

    table: str
    unchanged: int = 0
    changed: int = 0
    new: int = 0  # stood under no key of this batch: today's key is another, or the row was left out before
    withdrawn: int = 0  # today's code makes no such row any more
    columns: Mapping[str, int]
    lost: Mapping[str, int] = field(default_factory=dict)
    """Columns that left the contract: how many changed rows had a value there, which history alone keeps."""
    examples: Sequence[Example] = ()

    @property
    def any(self) -> bool:
        return bool(self.changed or self.new or self.withdrawn)


@dataclass(frozen=True, slots=True)
class Compared:
    """Today's rows that differ, the rows that stand and must go (n: their keys), and the count of it all."""

    changed: pl.DataFrame
    new: pl.DataFrame
    gone: pl.DataFrame  # standing rows that are replaced or withdrawn
    withdrawn: pl.DataFrame  # those of them that nothing replaces
    changes: Changes


def compare(standing: pl.DataFrame, today: pl.DataFrame, contract: Contract) -> Compared:
    """Compare rows by their key; `standing` is of `standing_schema` (n), `today` as placed (m).

    A row whose values are the same but whose input is read otherwise today counts as changed: a redelivery is
    told from a conflict by its input.
    """
    key, compared = list(contract.key), [name for name in contract.names if name not in contract.key]
    before = standing.select(*key, *(pl.col(n).alias(f"before {n}") for n in [*compared, INPUT]))
    both = today.join(before, on=key, how="inner", maintain_order="left")
    differs = {name: ~pl.col(name).eq_missing(pl.col(f"before {name}")) for name in [*compared, INPUT]}
    changed = both.filter(pl.any_horizontal(*differs.values()))
    new = today.join(before, on=key, how="anti", maintain_order="left")
    withdrawn = standing.filter(STANDS).join(today, on=key, how="anti", maintain_order="left")
    counts = changed.select(rule.sum().alias(name) for name, rule in differs.items())
    changes = Changes(
        table=contract.table,
        unchanged=both.height - changed.height,
        changed=changed.height,
        new=new.height,
        withdrawn=withdrawn.height,
        columns={name: count for name, count in counts.row(0, named=True).items() if count},
        lost=_lost(standing, changed, key),
        examples=_examples(changed, contract, list(differs)),
    )
    gone = pl.concat([standing.filter(STANDS).join(changed, on=key, how="semi"), withdrawn])
    return Compared(changed.select(today.columns), new, gone, withdrawn, changes)


def _lost(standing: pl.DataFrame, changed: pl.DataFrame, key: list[str]) -> dict[str, int]:
    valued = [name for name in standing.columns if name.startswith(LEFT)]
    replaced = standing.filter(STANDS).join(changed, on=key, how="semi")
    return {name.removeprefix(LEFT): count for name in valued if (count := int(replaced[name].sum()))}


def _examples(changed: pl.DataFrame, contract: Contract, names: Sequence[str]) -> list[Example]:
    some = changed.head(EXAMPLES)
    return [
        Example(
            key=key,
            columns={
                name: pair for name in names if not _same(*(pair := (row[f"before {name}"], row[name])))
            },
        )
        for key, row in zip(canonical_key(some, contract), some.iter_rows(named=True), strict=True)
    ]


def _same(before: Any, today: Any) -> bool:
    return bool(before == today or (before != before and today != today))  # NaN is not itself


def add(one: Changes, other: Changes) -> Changes:
    """The changes of two batches of one table."""
    return Changes(
        table=one.table,
        unchanged=one.unchanged + other.unchanged,
        changed=one.changed + other.changed,
        new=one.new + other.new,
        withdrawn=one.withdrawn + other.withdrawn,
        columns=_sums(one.columns, other.columns),
        lost=_sums(one.lost, other.lost),
        examples=[*one.examples, *other.examples][:EXAMPLES],
    )


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    names = sorted(one.keys() | other.keys())
    return {name: one.get(name, 0) + other.get(name, 0) for name in names}
