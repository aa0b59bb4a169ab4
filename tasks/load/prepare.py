"""Digests, packing and order of a batch: made in a thread, while the batch before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lineage.log import Writer
from tasks.batch import RawBatch, Refined
from tasks.contract import Contract
from tasks.load.plan import LoadPlan
from tasks.load.raw import PackedRaw, pack_raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A commit whose answer may be lost; the chain's head is its writer's, its entries' and nobody else's."""

    number: int
    writer: Writer
    head: bytes


@dataclass(slots=True, kw_only=True)
class Prepared:
    """One batch ready for its commit, kept between tries: the answer to a COMMIT may be lost."""

    batch: RawBatch
    refined: Refined  # rows in the order of their keys
    raw: PackedRaw
    tried: Tried | None = None  # the last time; None: never as far as to COMMIT


def prepare(batch: RawBatch, refined: Refined, plan: LoadPlan) -> Prepared:
    """A batch as the plan's pipeline commits it."""
    return Prepared(batch=batch, refined=in_key_order(plan.contracts, refined), raw=pack_raw(batch))


def in_key_order(contracts: Mapping[str, Contract], refined: Refined) -> Refined:
    """The accepted rows sorted by key, so that writers of the same keys wait for each other in turn."""
    rows = {table: frame.sort(contracts[table].key) for table, frame in refined.accepted.items()}
    return replace(refined, accepted=rows)
