"""Our record as W3C PROV-JSON: what was made of what (entities), in which run (activities), by whom (agents).

    dataset, batch, column, subject     entity        batches and columns are members of their dataset
    run, or a commit without one        activity
    device, Headwater, others' systems  agent
    transformation                      entity, a plan: the association of a run with its agent names it

See https://www.w3.org/TR/prov-dm/ and https://www.w3.org/submissions/prov-json/.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from .apart import HEADWATER
from .commits import RecordedCommit
from .log import Entry
from .model import Edge, Node, NodeKind
from .openlineage.names import FOREIGN, Names, job_of

PREFIXES = {"hw": "urn:headwater:", "prov": "http://www.w3.org/ns/prov#"}
OURS = "headwater"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {NodeKind.DATASET: "prov:Collection", NodeKind.TRANSFORMATION: "prov:Plan"}


def provenance(commits: Iterable[RecordedCommit]) -> Mapping[str, Any]:
    """Commits as one PROV-JSON document."""
    document = Document()
    for commit in commits:
        document.add(commit)
    return document.content()


class Document:
    """A PROV document that grows commit by commit; what is said twice stands in it once."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, dict[str, Any]]] = {}

    def content(self) -> Mapping[str, Any]:
        """The document as PROV-JSON has it."""
        return {"prefix": PREFIXES, **self._records}

    def add(self, commit: RecordedCommit) -> None:
        """Say what the entries of one commit say."""
        for entry in commit.entries:
            for node in (entry.edge.source, entry.edge.target):
                self._node(node)
            self._relation(entry)

    def _relation(self, entry: Entry) -> None:
        edge = entry.edge
        source, target = _id(edge.source), _id(edge.target)
        match edge.relationship_type.value:
            case "FEEDS" | "DERIVES":
                self._made(entry, source, target)
            case "PART_OF":
                self._say("hadMember", {"prov:collection": target, "prov:entity": source})
            case "RAN":
                self._associated(source, edge.target.key)
            case "ABOUT" if edge.source.facts.get("kind") == "device":
                self._say("wasAttributedTo", {"prov:entity": target, "prov:agent": source})
            case "ABOUT":
                self._influenced(target, source, edge)
            case "SUPERSEDES":
                kind = _qualified("prov:Revision")
                ends = {"prov:generatedEntity": source, "prov:usedEntity": target}
                self._say("wasDerivedFrom", {**ends, "prov:type": kind})
            case _:  # what it says is said of its source: it used the target
                self._influenced(source, target, edge)

    def _made(self, entry: Entry, source: str, target: str) -> None:
        """The target was derived from the source, and a run used the one and generated the other."""
        edge, activity = entry.edge, self._activity(entry)
        facts = {f"hw:{name}": value for name, value in edge.facts.items()}
        ends = {"prov:generatedEntity": target, "prov:usedEntity": source, "prov:activity": activity}
        self._say("wasDerivedFrom", {**ends, **facts})
        if edge.relationship_type.value == "FEEDS":
            self._say("used", {"prov:activity": activity, "prov:entity": source})
            made = {"prov:entity": target, "prov:activity": activity, "prov:time": _time(edge.created_at)}
            self._say("wasGeneratedBy", made)
        if edge.transformation_id is not None:
            self._node(Node(NodeKind.TRANSFORMATION, edge.transformation_id))
            self._associated(activity, edge.transformation_id)

    def _activity(self, entry: Entry) -> str:
        """The run, or the commit where there was none."""
        run = entry.edge.run_id
        if run is not None:
            self._node(Node(NodeKind.RUN, str(run)))
            return _id(Node(NodeKind.RUN, str(run)))
        activity = f"hw:commit/{entry.batch}"
        self._put("activity", activity, {"prov:type": _qualified("hw:Commit")})
        return activity

    def _associated(self, activity: str, transformation: str) -> None:
        agent = OURS
        if transformation.startswith(FOREIGN):
            agent = job_of(transformation, Names()).namespace
        elif transformation.startswith(HEADWATER):
            agent = transformation.partition("/")[0]
        agent_id = f"hw:system/{quote(agent)}"
        self._put("agent", agent_id, {"prov:type": _qualified("prov:SoftwareAgent"), "prov:label": agent})
        plan = _id(Node(NodeKind.TRANSFORMATION, transformation))
        self._say("wasAssociatedWith", {"prov:activity": activity, "prov:agent": agent_id, "prov:plan": plan})

    def _influenced(self, influencee: str, influencer: str, edge: Edge) -> None:
        kind = _qualified(f"hw:{edge.relationship_type.value}")
        self._say(
            "wasInfluencedBy",
            {"prov:influencee": influencee, "prov:influencer": influencer, "prov:type": kind},
        )

    def _node(self, node: Node) -> None:
        """A node as an entity, activity or agent; a batch and a column are members of their dataset."""
        told = {f"hw:{name}": value for name, value in node.facts.items() if value is not None}
        told["prov:label"] = node.key
        if node.kind is NodeKind.RUN:
            if (started := node.facts.get("started_at")) is not None:
                told["prov:startTime"] = _time(_EPOCH + timedelta(microseconds=int(started)))
            self._put("activity", _id(node), told)
        elif node.facts.get("kind") == "device":
            self._put("agent", _id(node), told)
        else:
            kind = _TYPES.get(node.kind, f"hw:{node.kind.value}")
            self._put("entity", _id(node), {**told, "prov:type": _qualified(kind)})
        if node.kind in (NodeKind.BATCH, NodeKind.COLUMN) and "dataset" in node.facts:
            dataset = Node(NodeKind.DATASET, str(node.facts["dataset"]))
            self._node(dataset)
            self._say("hadMember", {"prov:collection": _id(dataset), "prov:entity": _id(node)})

    def _put(self, kind: str, identity: str, told: Mapping[str, Any]) -> None:
        self._records.setdefault(kind, {}).setdefault(identity, {}).update(told)

    def _say(self, relation: str, told: Mapping[str, Any]) -> None:
        """A relation under an id made of what it says."""
        text = json.dumps(told, sort_keys=True)
        self._put(relation, f"_:{sha256(text.encode()).hexdigest()[:20]}", told)


def _id(node: Node) -> str:
    return f"hw:{node.kind.value.lower()}/{quote(node.key, safe='/')}"


def _qualified(name: str) -> Mapping[str, str]:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
