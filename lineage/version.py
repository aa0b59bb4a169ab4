"""Which code made a value: a transformation's version is a hash of what it does, not of a label.

It covers the normalised source of the function's module and of every module of ours it imports, the
contract and the parameters. Comments, layout and docstrings do not change it; a changed constant does.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import InspectLoader
from typing import Any

from .model import Transformation


@dataclass(frozen=True, slots=True)
class _Source:
    """A module's text, and the package that its relative imports start from."""

    module: str
    package: str
    text: str

    @property
    def is_package(self) -> bool:
        return self.module == self.package


def transformation_of(
    function: Callable[..., Any], *, name: str, within: Iterable[str], parameters: Mapping[str, Any]
) -> Transformation:
    """The transformation a function is, with the version of its code and parameters.

    `within` names the top-level packages that count as ours; `parameters` must be JSON (a contract's
    `model_dump(mode="json")`, limits, options).
    """
    module = inspect.getmodule(function)
    if module is None:
        raise TypeError(f"{function!r} belongs to no module, so its version cannot be told")
    start = _Source(module.__name__, module.__package__ or "", inspect.getsource(module))
    # The function's own module has another name when it is run as a script, or loaded from a path.
    sources = {
        "" if of is start else of.module: normalised(of.text) for of in _reach(start, frozenset(within))
    }
    text = json.dumps([sources, parameters], sort_keys=True, separators=(",", ":"))
    return Transformation(name=name, version=hashlib.sha256(text.encode()).hexdigest()[:16])


@cache
def normalised(source: str) -> str:
    """Source text without comments, layout and docstrings."""
    return _read(source)[1]


@cache
def _read(source: str) -> tuple[tuple[ast.Import | ast.ImportFrom, ...], str]:
    """What a source imports, and its text as `normalised`: parsed once for both, which is what costs."""
    tree = _parsed(source)
    imports: list[ast.Import | ast.ImportFrom] = []
    for node in _statements(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.append(node)
        elif isinstance(body := getattr(node, "body", None), list):
            node.body = [s for s in body if not _is_docstring(s)] or [ast.Pass()]  # type: ignore[attr-defined]
    return tuple(imports), ast.unparse(tree)


def _parsed(source: str) -> ast.Module:
    """The syntax tree; CPython 3.11 fails when another thread parses at the same time (gh-106905)."""
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The tree and every node of it that is a statement or holds some; no expression does."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for held in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, held, ())


def _is_docstring(statement: ast.stmt) -> bool:
    is_expression = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_expression and isinstance(statement.value.value, str)  # type: ignore[attr-defined]


def _reach(start: _Source, within: frozenset[str]) -> list[_Source]:
    """The module and every module of ours that it imports, directly or not, by name.

    Loaded or not: a module that is imported only when it is needed counts before that too.
    """
    found = {start.module: start}
    waiting = [start]
    while waiting:
        for source in _imported(waiting.pop(), within):
            if source.module not in found:
                found[source.module] = source
                waiting.append(source)
    return [found[name] for name in sorted(found)]


@cache
def _imported(source: _Source, within: frozenset[str]) -> tuple[_Source, ...]:
    """The modules of ours that a module names."""
    found: list[_Source] = []
    for name, members in _names(source):
        if name.partition(".")[0] in within and (module := _source(name)):
            found.append(module)
            if module.is_package:  # else its members are no modules, and to ask would load it
                found += [each for member in members if (each := _source(f"{name}.{member}"))]
    return tuple(found)


@cache
def _source(name: str) -> _Source | None:
    """The module of that name, as it is when it is first asked for.

    None if it is no module (a name in one), or not written in Python.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # what it would be in is no package; or it is the script that is run
        return None
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return None
    text = spec.loader.get_source(name)
    return None if text is None else _Source(name, spec.parent or "", text)


def _names(source: _Source) -> Iterator[tuple[str, Sequence[str]]]:
    """Each name that is imported, and what is taken from it."""
    for node in _read(source.text)[0]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        else:
            parents = source.package.split(".")
            inside = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*inside, node.module] if node.module else inside)
            yield base, [alias.name for alias in node.names]
