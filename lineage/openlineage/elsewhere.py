"""The nodes of another Headwater, in its namespace here: `headwater:{store}/{the key there}`.

A run, whose key is an id, has an id made of its sender and its id there. So nothing of ours, and nothing of
another sender, is ever named; and what stays on a node is what its key says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from .. import apart
from ..model import Fact, Node, NodeKind
from . import checks

Facts = Mapping[str, Fact]

_KEY_SAYS: Mapping[NodeKind, frozenset[str]] = {
    NodeKind.DATASET: frozenset(),
    NodeKind.COLUMN: frozenset({"dataset", "column"}),
    NodeKind.BATCH: frozenset({"dataset", "number", "hour", "bucket", "day"}),
    NodeKind.TRANSFORMATION: frozenset({"name", "version"}),
    NodeKind.RUN: frozenset(),
    NodeKind.SUBJECT: frozenset({"kind", "id"}),
}
"""The facts that follow from a key; all others are told of the relationship."""
_WHOLE = ("number", "hour", "bucket", "first", "last", "since", "until", "rows")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One sender, by the identity of its store."""

    sender: str

    @property
    def prefix(self) -> str:
        return apart.of_sender(self.sender)

    def node(self, given: Any, what: str) -> tuple[Node, Facts]:
        """A node as it is here, and the facts its key does not say; raises RejectedError."""
        written = checks.with_fields(given, what, ("kind", "key", "facts"))
        kind = checks.one_of(NodeKind, written["kind"], f"{what}'s kind")
        facts = checks.facts(written["facts"], f"{what}'s facts")
        node = _NODES[kind](self, checks.a_text(written["key"], f"{what}'s key"), facts, what)
        return node, {name: value for name, value in facts.items() if name not in _KEY_SAYS[kind]}

    def code(self, given: Any, what: str) -> str:
        """The id of a transformation."""
        key = checks.a_text(given, what)
        return self._key(key, what, "@" in key)

    def run(self, given: Any, what: str) -> UUID:
        return apart.run_id(self.sender, str(checks.an_id(given, what)))

    def _key(self, key: str, what: str, fits: bool = True) -> str:
        if not fits or not apart.fits_a_key(self.prefix + key):
            raise checks.wrong(f"{what} is none: {key[:80]!a}")
        return self.prefix + key

    def _dataset(self, key: str, _: Facts, what: str) -> Node:
        return Node(NodeKind.DATASET, self._key(key, f"{what}'s key"))

    def _column(self, key: str, facts: Facts, what: str) -> Node:
        uri = checks.a_text(facts.get("dataset"), f"{what}'s dataset")
        name = checks.a_text(facts.get("column"), f"{what}'s column")
        self._key(key, f"{what}'s key", key in (f"{uri}.{name}", apart.column(uri, name).key))
        column = apart.column(self.prefix + uri, name)
        if not apart.fits_a_key(column.key):
            raise checks.wrong(f"{what}'s key is too long")
        return column

    def _batch(self, key: str, facts: Facts, what: str) -> Node:
        uri = checks.a_text(facts.get("dataset"), f"{what}'s dataset")
        for name in _WHOLE:
            checks.a_whole(facts.get(name) or 0, f"{what}'s {name}")
        numbered = "number" not in facts or key == f"{uri}#{facts['number']}"
        here = self._key(key, f"{what}'s key", numbered and key.startswith(f"{uri}#"))
        return Node(NodeKind.BATCH, here, {"dataset": self.prefix + uri})

    def _transformation(self, key: str, facts: Facts, what: str) -> Node:
        told = {"name", "version"} <= facts.keys()
        if told and key != f"{facts['name']}@{facts['version']}":
            raise checks.wrong(f"{what}'s key is not its name and version")
        here = self.code(key, f"{what}'s key")
        name, _, version = here.rpartition("@")
        return Node(NodeKind.TRANSFORMATION, here, {"name": name, "version": version})

    def _run(self, key: str, _: Facts, what: str) -> Node:
        here = self.run(key, f"{what}'s key")
        return Node(NodeKind.RUN, str(here), {"kind": "headwater", "id": f"{self.prefix}{UUID(key)}"})

    def _subject(self, key: str, facts: Facts, what: str) -> Node:
        kind, _, identity = key.partition(":")
        fits = (facts.get("kind", kind), facts.get("id", identity)) == (kind, identity) and bool(identity)
        here = self._key(key, f"{what}'s key", fits)
        return Node(NodeKind.SUBJECT, here, {"kind": kind, "id": identity})


_NODES: Mapping[NodeKind, Callable[[Elsewhere, str, Facts, str], Node]] = {
    NodeKind.DATASET: Elsewhere._dataset,
    NodeKind.COLUMN: Elsewhere._column,
    NodeKind.BATCH: Elsewhere._batch,
    NodeKind.TRANSFORMATION: Elsewhere._transformation,
    NodeKind.RUN: Elsewhere._run,
    NodeKind.SUBJECT: Elsewhere._subject,
}
