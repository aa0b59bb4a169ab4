"""The graph against the projection of the log, element by element, in bounded memory.

Both sides are spread over files by a hash of each element's identity, and compared file by file: memory
is that of one part, the disk holds about as much as the log.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import graph as graphs
from ..canonical import canonical_json
from ..model import Fact
from ..ports import Graph
from ..projection import Projection, earliest, element_hash

ENTRIES_PER_PART = 200_000
MOST_PARTS = 256


def parts_for(entries: int) -> int:
    """How many parts keep each at a size that fits in memory easily."""
    return min(MOST_PARTS, max(0, entries) // ENTRIES_PER_PART + 1)  # who tampers may say any number


class Spread:
    """Elements by identity, spread over files."""

    def __init__(self, directory: Path, name: str, parts: int) -> None:
        self.parts = parts
        self._paths = [directory / f"{name}{part}" for part in range(parts)]
        self._stack = ExitStack()
        self._files = [self._stack.enter_context(path.open("w", encoding="utf-8")) for path in self._paths]

    def add(self, identity: Any, facts: Mapping[str, Any]) -> None:
        """Add an element; the same one may come many times."""
        text = _json(identity)
        kept = {name: value for name, value in facts.items() if value is not None}
        self._files[zlib.crc32(text.encode()) % self.parts].write(f"{text}\t{_json(kept)}\n")

    def close(self) -> None:
        self._stack.close()

    def read(self, part: int) -> Iterator[tuple[str, dict[str, Fact]]]:
        """The elements of one part, as they were added."""
        with self._paths[part].open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                identity, _, facts = line.rstrip("\n").partition("\t")
                yield identity, json.loads(facts)


def _json(value: Any) -> str:
    return canonical_json(value, default=str)


def spread_projection(spread: Spread, projection: Projection) -> None:
    """Add what the entries of a seal make."""
    for node, facts in projection.nodes.items():
        spread.add(node, facts)
    for relationship, facts in projection.relationships.items():
        spread.add(relationship, facts)


async def spread_graph(spread: Spread, graph: Graph) -> None:
    """Add every node and relationship of the graph, also those that none of ours should be."""
    async for row in graph.stream("MATCH (n) RETURN labels(n) AS labels, properties(n) AS facts"):
        facts = dict(row["facts"])
        spread.add((":".join(sorted(row["labels"])), facts.pop("key", None)), facts)
    async for row in graph.stream(f"MATCH (a)-[r]->(b) {graphs.ENDS}"):
        facts = dict(row["facts"])
        source = (":".join(sorted(row["source_labels"])), row["source"])
        target = (":".join(sorted(row["target_labels"])), row["target"])
        spread.add((row["type"], source, target, facts.pop("via", None)), facts)


async def unlike(graph: Graph, projection: Projection) -> list[str]:
    """What the graph lacks of a seal's projection, or has otherwise; other seals may add to its nodes."""
    found = await graphs.find(graph, projection)
    differences = []
    for node, facts in projection.nodes.items():
        differences += _differs(node, facts, found.nodes.get(node), facts.keys())
    for relationship, facts in projection.relationships.items():
        there = found.relationships.get(relationship)
        if there is not None and int(there.get("known_at") or 0) < int(facts["known_at"] or 0):
            continue  # an earlier seal said it first, and is checked with its own
        differences += _differs(relationship, facts, there, facts.keys() | (there or {}).keys())
    return differences


def _differs(
    identity: Any, expected: Mapping[str, Fact], found: Mapping[str, Fact] | None, names: Iterable[str]
) -> list[str]:
    name = _named(_json(identity))
    if found is None:
        return [f"graph: {name} is missing"]
    changed = [fact for fact in sorted(names) if expected.get(fact) != found.get(fact)]
    said = ", ".join(f"{fact} is {found.get(fact)!r} instead of {expected.get(fact)!r}" for fact in changed)
    return [f"graph: {name}: {said}"] if changed else []


def compare(log: Spread, graph: Spread, report: Callable[[Iterable[str]], None]) -> int:
    """Compare the parts of both sides, reporting what differs; returns the digest the graph must have."""
    log.close()
    graph.close()
    digest = 0
    for part in range(log.parts):
        expected = _merged(log.read(part))
        found: dict[str, dict[str, Fact]] = {}
        for identity, facts in graph.read(part):
            if identity in found:
                report([f"graph: {_named(identity)} stands there more than once"])
            found[identity] = facts
        digest += sum(element_hash(json.loads(identity), facts) for identity, facts in expected.items())
        if expected != found:
            report(_unlike(expected, found))
    return digest % (1 << 64)


def _merged(elements: Iterable[tuple[str, dict[str, Fact]]]) -> dict[str, dict[str, Fact]]:
    merged: dict[str, dict[str, Fact]] = {}
    for identity, facts in elements:
        known = merged.setdefault(identity, facts)
        if known is facts:
            continue
        if "relationship_type" in facts:
            merged[identity] = earliest(known, facts)
        else:
            known.update(facts)
    return merged


def _unlike(expected: Mapping[str, Mapping[str, Fact]], found: Mapping[str, Mapping[str, Fact]]) -> list[str]:
    differences = [f"graph: {_named(name)} is not from the log" for name in found if name not in expected]
    for name, ours in expected.items():
        theirs = found.get(name)
        differences += _differs(json.loads(name), ours, theirs, ours.keys() | (theirs or {}).keys())
    return differences


def _named(identity: str) -> str:
    parts = json.loads(identity)
    if len(parts) == 2:
        return f"{parts[0]} {parts[1]}"
    kind, source, target, via = parts
    return f"{source[0]} {source[1]} -{kind}→ {target[0]} {target[1]}" + (f" by {via}" if via else "")
