"""Which code made a value: a transformation's version is a hash of what it does, not of a label.

It covers the normalised source of the function's module and of every module of ours it imports, the
contract and the parameters. Comments, layout and docstrings do not change it; a changed constant does.
"""

import ast
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from .model import Transformation


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
    reached = _reach(module, frozenset(within))
    # The function's own module has another name when it is run as a script, or loaded from a path.
    sources = {"" if m is module else m.__name__: normalised(inspect.getsource(m)) for m in reached}
    text = json.dumps([sources, parameters], sort_keys=True, separators=(",", ":"))
    return Transformation(name=name, version=hashlib.sha256(text.encode()).hexdigest()[:16])


def normalised(source: str) -> str:
    """Source text without comments, layout and docstrings."""
    tree = _parsed(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_docstring(s)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _parsed(source: str) -> ast.Module:
    """The syntax tree; CPython 3.11 fails when another thread parses at the same time (gh-106905)."""
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)


def _is_docstring(statement: ast.stmt) -> bool:
    is_expression = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_expression and isinstance(statement.value.value, str)  # type: ignore[attr-defined]


def _reach(start: ModuleType, within: frozenset[str]) -> list[ModuleType]:
    """The module and every module of ours that it imports, directly or not, by name."""
    found: dict[str, ModuleType] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module.__name__ in found:
            continue
        found[module.__name__] = module
        waiting.extend(m for m in _imported(module) if m.__name__.partition(".")[0] in within)
    return [found[name] for name in sorted(found)]


def _imported(module: ModuleType) -> Iterable[ModuleType]:
    package = module.__package__ or ""
    for node in ast.walk(_parsed(inspect.getsource(module))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, node.module] if node.module else parents)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (sys.modules[name] for name in names if name in sys.modules)
