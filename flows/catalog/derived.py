"""Derived tables put together: of which tables each is made, derived ones among them, and in which order."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from flows.catalog.catalog import Broken, sentence
from infra.local.addresses import near
from lineage.errors import ContractError
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate, Draft

Drafts = Mapping[str, tuple[Path, Draft]]
"""Name → where it is defined, and what its files say."""


def made_of(drafts: Drafts, contracts: Mapping[str, Contract], broken: list[Broken]) -> dict[str, Aggregate]:
    """Each derived table after those that it is made from; of those that cannot be, why."""
    known, made = dict(contracts), dict[str, Aggregate]()
    for name in _in_order(drafts, broken):
        path, draft = drafts[name]
        try:
            made[name] = draft.made(known)
        except ContractError as error:
            broken.append(Broken("table", path, name, f"{near(path)}: {sentence(error)}"))
        else:
            known[name] = draft.contract
    return made


def _in_order(drafts: Drafts, broken: list[Broken]) -> Sequence[str]:
    """The names, each after those that it is made from, without those that are made from themselves."""
    left = dict(sorted(drafts.items()))
    while True:
        made_from = {
            name: [each for each in draft.made_from if each in left] for name, (_, draft) in left.items()
        }
        try:
            return list(TopologicalSorter(made_from).static_order())
        except CycleError as error:
            circle = error.args[1][:-1]
            broken += [_made_from_itself(name, circle, drafts) for name in sorted(circle)]
            left = {name: draft for name, draft in left.items() if name not in circle}


def _made_from_itself(name: str, circle: Sequence[str], drafts: Drafts) -> Broken:
    path = drafts[name][0]
    others = ", ".join(near(drafts[each][0]) for each in sorted(circle) if each != name)
    way = f" by way of {others}" if others else ""
    why = f"it is made from itself{way}: leave one of these out of `made_from`"
    return Broken("table", path, name, f"{near(path)}: {why}.")
