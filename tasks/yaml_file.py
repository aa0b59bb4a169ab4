"""YAML files that people write, read as YAML 1.2, and every mistake with its line and column.

`on`, `no` and `yes` are words here (YAML 1.1 took them for truth values), `1:30` and `2026-11-21` are text,
`010` is ten, `<<` merges nothing. A name that comes twice in one mapping is refused.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from lineage.errors import ContractError

Model = TypeVar("Model", bound=BaseModel)
Made = TypeVar("Made")
Place = tuple[str | int, ...]
_OF_NAME = "[key]"
"""How pydantic's places end of what is wrong with a name in a mapping."""


class _Core(yaml.SafeLoader):
    """PyYAML with the core schema of YAML 1.2.2 (chapter 10.3) in place of the types of YAML 1.1."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own way


_TYPES = (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
for _name, _pattern, _first in _TYPES:
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


def _integer(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value)


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | Decimal:
    """A double, or the number itself where the shortest text of the double is another one."""
    number = float(loader.construct_yaml_float(node))
    try:
        written = Decimal(node.value)
    except InvalidOperation:  # .inf, .nan
        return number
    return number if Decimal(repr(number)) == written else written


_Core.add_constructor("tag:yaml.org,2002:int", _integer)
_Core.add_constructor("tag:yaml.org,2002:float", _number)


def read_yaml(path: Path, model: type[Model], then: Callable[[Model], Made]) -> Made:
    """What is made of a model from its YAML file; raises ContractError, all that is wrong and where in it.

    `then` may raise ValidationError too, of something with the same structure as the file.
    """
    try:
        return _read(path.read_text(encoding="utf-8"), model, then)
    except (_WrongError, OSError, UnicodeDecodeError) as error:
        raise ContractError(" ".join(str(error).split())) from error


def line_of(path: Path, place: Place) -> str:
    """Where a place of a file that was read before stands: `line 3, column 5`."""
    root = _Core(path.read_text(encoding="utf-8")).get_single_node()
    assert root is not None, f"{path} is empty"  # noqa: S101 - it was read before
    return _at(_node_at(root, place, key=False).start_mark)


def within(place: Place, error: ValidationError) -> ValidationError:
    """The same error of something that stands at a place of the file."""
    problems: list[InitErrorDetails] = [
        {
            "type": PydanticCustomError(each["type"], "{said}", {**each.get("ctx", {}), "said": each["msg"]}),
            "loc": (*place, *each["loc"]),
            "input": None,
        }
        for each in error.errors(include_input=False, include_url=False)
    ]
    return ValidationError.from_exception_data(error.title, problems)


class _WrongError(Exception):
    """What is wrong with the text, and where."""


def _read(text: str, model: type[Model], then: Callable[[Model], Made]) -> Made:
    try:
        loader = _Core(text)
        root = loader.get_single_node()
        if root is None:
            raise _WrongError("the file is empty")
        if repeated := list(_repeated(root, set())):
            raise _WrongError("; ".join(repeated))
        found = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        where = f"{_at(error.problem_mark)}: " if error.problem_mark else ""
        raise _WrongError(f"{where}{error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:  # a character that no YAML has
        raise _WrongError(str(error)) from error
    try:
        return then(model.model_validate(found))
    except ValidationError as error:
        raise _WrongError("; ".join(_told(error, root, model))) from error


def _repeated(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """A sentence for each name that comes twice in a mapping: the last one would win in silence."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, yaml.Mark] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in first:
                    said = f"{key.value} comes a second time, it stands in line {first[key.value].line + 1}"
                    yield f"{_at(key.start_mark)}: {said}"
                first.setdefault(key.value, key.start_mark)
            yield from _repeated(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _repeated(each, seen)


def _told(error: ValidationError, root: yaml.Node, model: type[BaseModel]) -> Iterator[str]:
    """A sentence for each problem: where, what, and of an unknown word the nearest that may stand there."""
    problems = error.errors(include_input=False, include_url=False)
    wholes = {each["loc"][:length] for each in problems for length in range(len(each["loc"]))}
    for each in problems:
        if each["loc"] in wholes:  # that a list is too short is because its parts are wrong
            continue
        context = each.get("ctx", {})
        of_name = each["loc"][-1:] == (_OF_NAME,)
        at: Place = each["loc"][:-1] if of_name else each["loc"]
        place: Place = (*at, *context.get("place", ()))
        node = _node_at(root, place, key=of_name or each["type"] == "extra_forbidden")
        said = each["msg"].removeprefix("Value error, ") + _nearest(each["type"], context, node, at, model)
        name = "" if each["type"] == "contract" else ".".join(map(str, at))
        yield ": ".join(part for part in (_at(node.start_mark) if place else "", name, said) if part)


def _nearest(
    kind: str, context: Mapping[str, Any], node: yaml.Node, place: Place, model: type[BaseModel]
) -> str:
    """`, did you mean …?` for a word that is close to one that may stand there."""
    if kind == "extra_forbidden":
        word, known = str(place[-1]), _names_at(model.model_json_schema(), place[:-1])
    elif kind in ("enum", "literal_error", "union_tag_invalid"):
        said = str(context.get("expected", context.get("expected_tags", "")))
        word, known = str(context.get("tag", node.value)), re.findall(r"'([^']*)'", said)
    else:
        return ""
    nearest = get_close_matches(word, known, n=1)
    return f", did you mean {nearest[0]}?" if nearest else ""


def _node_at(root: yaml.Node, place: Place, *, key: bool) -> yaml.Node:
    """The node at a place of pydantic's, or the innermost one there is; `key`: its name, not its value."""
    node = root
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode) and isinstance(step, int):
            node = node.value[step][1]  # of a mapping that is a list to the one who refuses it
        elif isinstance(node, yaml.MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == str(step)]
            last = key and step == place[-1]
            node = pairs[0][0 if last else 1] if pairs else node
    return node


def _at(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _names_at(schema: Mapping[str, Any], place: Place) -> Sequence[str]:
    """The fields of the models that may stand at a place of pydantic's, who names the kind of a union too."""
    nodes = list(_kinds(schema, schema))
    for step in place:
        below = [each for node in nodes for held in _below(node, step) for each in _kinds(schema, held)]
        of_kind = [node for node in nodes if _type_of(node) == step]
        nodes = below or of_kind or nodes  # a step that leads nowhere is the name of a kind
    return [name for node in nodes for name in node.get("properties", ())]


def _kinds(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What may stand where a node is; a union whose kinds have names is followed by the name."""
    node = _resolved(schema, node)
    kinds = () if "discriminator" in node else (*node.get("anyOf", ()), *node.get("oneOf", ()))
    for each in kinds:
        yield from _kinds(schema, each)
    if not kinds:
        yield node


def _type_of(node: Mapping[str, Any]) -> object:
    """The `type` that a model of a union is known by."""
    return node.get("properties", {}).get("type", {}).get("const")


def _below(node: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    """What is held at a step: of a union, a list, a model, or a mapping of any names."""
    if "discriminator" in node:
        held = node["discriminator"]["mapping"].get(step)
        yield from [{"$ref": held}] if held else []
    elif isinstance(step, int):
        yield node.get("items", {})
    elif step in node.get("properties", {}):
        yield node["properties"][step]
    else:
        of_any_name = (*node.get("patternProperties", {}).values(), node.get("additionalProperties"))
        yield from (each for each in of_any_name if isinstance(each, Mapping))


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the schema stands for."""
    found: Mapping[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    return found
