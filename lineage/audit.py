"""Audits: named, read-only questions to the graph, one Cypher file each in `audits/`.

A file begins with comments that say what it answers and what it takes; nothing else has to be written:

    // What fed this batch or dataset, directly or not?
    // param key: node — a batch or dataset
    // param since: moment = 1970-01-01 — from when on

A parameter without a default must be given. A `node` is the key of a node that is there; a `moment` is an ISO
8601 time and travels as microseconds since 1970 UTC. Values travel as parameters, never inside the text.

Every audit may be asked as of a time: `$valid_at` and `$known_at` are always there, and mean the end of time
unless they are given. Where that makes the statement slow, a second one after a line `// as of` answers it
for the past; the first then knows no time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Literal

from .errors import NotFoundError, QueryError
from .model import NodeKind, micros
from .ports import Graph
from .query import LIMIT, Answer, Value, refuse_writes, run_whole

Type = Literal["string", "integer", "float", "boolean", "moment", "node"]

_PARAM = re.compile(
    r"^//\s*param\s+(?P<name>[a-z_][a-z0-9_]*)\s*:\s*(?P<type>string|integer|float|boolean|moment|node)"
    r"\s*(?:=\s*(?P<default>\S+)\s*)?[—-]+\s*(?P<meaning>.+)$"
)
_DECLARES = re.compile(r"//\s*param\b", re.IGNORECASE)
_QUESTION = re.compile(r"//+\s*(?!param\b)([^\s/].*?)\s*$", re.IGNORECASE)
_AS_OF = re.compile(r"^//\s*as of\s*$", re.MULTILINE)
END_OF_TIME = 1 << 62
"""Later than any time in microseconds since 1970."""
RESERVED = ("valid_at", "known_at", "rows_kept")
"""Parameters that every statement is given."""
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What an audit takes; without a default it must be given."""

    name: str
    type: Type
    meaning: str
    default: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A question, what it takes, and the Cypher that answers it."""

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    query: str
    past: str | None = None  # the statement for a time before now, where it is another one


def audits() -> tuple[Audit, ...]:
    """Every audit, by name."""
    return tuple(parse(name, text) for name, text in _texts().items())


def find(name: str) -> Audit:
    """The audit of that name, whatever the others are like; raises NotFoundError."""
    texts = _texts()
    if name not in texts:
        raise NotFoundError(f"There is no audit {name!r}: choose from {', '.join(texts)}.")
    return parse(name, texts[name])


def _texts() -> dict[str, str]:
    """Name → text of every file, in the order of their names."""
    folder = resources.files(__package__) / "audits"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".cypher")), key=lambda f: f.name)
    return {f.name.removesuffix(".cypher"): f.read_text(encoding="utf-8") for f in files}


def parse(name: str, text: str) -> Audit:
    """An audit from its file's text; raises QueryError if its head is wrong or its query writes."""
    lines = text.splitlines()
    question = _QUESTION.match(lines[0]) if lines else None
    if question is None:
        raise QueryError(f"The audit {name} must begin with a line `// …` that says what it answers.")
    parameters = _parameters(name, lines[1:])
    refuse_writes(f"The audit {name}", text)
    query, *past = _AS_OF.split(text)
    return Audit(
        name=name,
        question=question[1],
        parameters=parameters,
        query=query,
        past=past[0] if past else None,
    )


def _parameters(name: str, lines: Sequence[str]) -> tuple[Parameter, ...]:
    """What the lines of an audit's file declare; a name is declared once, and is none of `RESERVED`."""
    parameters: dict[str, Parameter] = {}
    for line in lines:
        if not _DECLARES.match(line):
            continue
        found = _PARAM.match(line)
        if found is None or found["name"] in (*RESERVED, *parameters):
            raise QueryError(f"The audit {name} has a parameter that cannot be read or taken: {line}")
        parameters[found["name"]] = _parameter(found)
    return tuple(parameters.values())


def _parameter(found: re.Match[str]) -> Parameter:
    type_: Type = found["type"]  # type: ignore[assignment]  # the pattern allows no other
    default = None if found["default"] is None else _typed(found["name"], type_, found["default"])
    return Parameter(name=found["name"], type=type_, meaning=found["meaning"].strip(), default=default)


def bind(audit: Audit, given: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter with its value, of its type; raises QueryError for what is missing, unknown or wrong.

    A string is taken as a value of the parameter's type, as a command line gives it.
    """
    known = {parameter.name: parameter for parameter in audit.parameters}
    for name in given:
        if name not in known:
            takes = ", ".join(known) or "no parameters"
            raise QueryError(f"The audit {audit.name} has no parameter {name!r}: it takes {takes}.")
    values: dict[str, Value] = {}
    for name, parameter in known.items():
        value = given.get(name, parameter.default)
        if value is None:
            raise QueryError(f"The audit {audit.name} needs {name}: {parameter.meaning}.")
        values[name] = _typed(name, parameter.type, value)
    return values


def _typed(name: str, type_: Type, value: Value) -> Value:
    try:
        match type_, value:
            case "string" | "node", str():
                return value
            case "moment", int():
                return value
            case "moment", str():
                return micros_of(value)
            case "boolean", bool():
                return value
            case "boolean", str():
                return _TRUTH[value.lower()]
            case "integer", int() | str() if not isinstance(value, bool):
                return int(value)
            case "float", int() | float() | str() if not isinstance(value, bool):
                return float(value)
    except (ValueError, KeyError):
        pass
    raise QueryError(f"The parameter {name} must be a value of type {type_}, not {value!r}.")


def micros_of(text: str) -> int:
    """An ISO 8601 time as microseconds since 1970 UTC; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


async def ask(
    graph: Graph,
    audit: Audit,
    given: Mapping[str, Value] | None = None,
    *,
    limit: int = LIMIT,
    valid_at: datetime | None = None,
    known_at: datetime | None = None,
) -> Answer:
    """Run an audit, as of a time if one is given; at most `limit` rows are kept, all are counted.

    Raises NotFoundError when a node it is asked about is not in the graph, and QueryError when it is asked
    about the past and its statement knows no time.
    """
    values = bind(audit, given or {})
    for parameter in audit.parameters:
        if parameter.type == "node":
            await _find_node(graph, str(values[parameter.name]))
    past = valid_at is not None or known_at is not None
    query = audit.past if past and audit.past else audit.query
    if past and not ("$valid_at" in query and "$known_at" in query):
        raise QueryError(f"The audit {audit.name} tells of now alone: it uses no $valid_at and $known_at.")
    times = {
        "valid_at": micros(valid_at) if valid_at else END_OF_TIME,
        "known_at": micros(known_at) if known_at else END_OF_TIME,
    }
    return await run_whole(graph, f"The audit {audit.name}", query, {**values, **times}, limit=limit)


async def _find_node(graph: Graph, key: str) -> None:
    """Each label has an index on its key, so this looks into a few indexes."""
    query = " UNION ALL ".join(f"MATCH (n:{kind} {{key: $key}}) RETURN n.key AS key" for kind in NodeKind)
    if not await graph.read(query, {"key": key}):
        raise NotFoundError(f"The graph holds nothing named {key!r}: see `headwater audit datasets`.")
