"""Which code made a value: a transformation's version is a hash of what it does, not of a label.

It covers the normalised source of the function's module and of every module of ours it imports, the
contract and the parameters. Comments, layout and docstrings do not change it; a changed constant does.

What counts is the code as it was loaded, not what a disk says that has moved on since. So the text of a
module is taken once in a process (`keep`, which whoever reads the catalog calls), and a module that is loaded
only when it is needed is then made of the text that was taken.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from .model import Transformation

_INSTALLED: Final = ("site-packages", "dist-packages")
"""How the directories are called that packages are installed to, those of others beside each other."""


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
    function: Callable[..., Any],
    *,
    name: str,
    within: Iterable[str],
    parameters: Mapping[str, Any],
    without: Collection[str] = (),
) -> Transformation:
    """The transformation a function is, with the version of its code and parameters.

    `within` names the top-level packages and modules that count as ours, `without` the modules of these that
    decide nothing; `parameters` must be JSON (a contract's `model_dump(mode="json")`, limits, options).
    """
    start = _start(function)
    # The function's own module has another name when it is run as a script, or loaded from a path.
    sources = {
        "" if of is start else of.module: normalised(of.text)
        for of in _reach(start, frozenset(within), frozenset(without))
    }
    text = json.dumps([sources, parameters], sort_keys=True, separators=(",", ":"))
    return Transformation(name=name, version=hashlib.sha256(text.encode()).hexdigest()[:16])


def covered(
    function: Callable[..., Any], *, within: Iterable[str], without: Collection[str] = ()
) -> tuple[str, ...]:
    """The modules that a version covers."""
    return tuple(of.module for of in _reach(_start(function), frozenset(within), frozenset(without)))


def keep(packages: Iterable[str]) -> None:
    """Take the text of every module of these packages, loaded or not, once in this process."""
    _use_what_is_kept()
    for package in packages:
        _keep(package)


@cache
def beside(function: Callable[..., Any]) -> tuple[str, ...]:
    """The top-level packages and modules that stand beside a function's own: its user's code.

    They are in one directory; where several distributions are installed to it, they are of one distribution.
    Python's own modules are none of them: a directory of files may be called as one is.
    """
    module = _module_of(function)
    name, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    if file is None:
        return (name,)
    root = Path(file).resolve().parents[module.__name__.count(".") + (Path(file).stem == "__init__")]
    if root.name in _INSTALLED:
        return tuple(sorted(_of_one_distribution(name)))
    there = {entry.stem for entry in root.iterdir() if entry.stem.isidentifier()}
    return tuple(sorted({name, *there.difference(sys.stdlib_module_names)}))


def _of_one_distribution(name: str) -> set[str]:
    owners = metadata.packages_distributions()
    mine = set(owners.get(name, ()))
    return {name, *(other for other, its in owners.items() if mine.intersection(its))}


def _module_of(function: Callable[..., Any]) -> ModuleType:
    module = inspect.getmodule(function)
    if module is None:
        raise TypeError(f"{function!r} belongs to no module, so its version cannot be told")
    return module


def _start(function: Callable[..., Any]) -> _Source:
    module = _module_of(function)
    name = module.__name__
    text = _kept[name].text if name in _kept else _text_of(module)
    return _Source(name, module.__package__ or "", text)


@cache
def _text_of(module: ModuleType) -> str:
    return inspect.getsource(module)


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read; `seen` tells whether it is another one by now."""

    text: str
    seen: tuple[int, int, int]


_kept: Final[dict[str, _File]] = {}
"""Module → its file, as it was taken."""


@cache
def _keep(package: str) -> None:
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(place)
        for file in sorted(root.rglob("*.py")):
            parts = (package, *file.relative_to(root).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            _kept[name] = _File(file.read_text("utf-8"), _seen(str(file)))


def _seen(path: str) -> tuple[int, int, int]:
    try:
        now = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return now.st_mtime_ns, now.st_size, now.st_ino


class _KeptLoader(SourceFileLoader):
    """Makes a module of its text as it was taken."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(_kept[fullname].text.encode(), self.path)
        return code


class _KeptFinder(MetaPathFinder):
    """Finds modules whose text was taken and whose file is another one by now, before whoever reads it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _kept else None
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        if _seen(spec.loader.path) == _kept[fullname].seen:
            return None
        spec.loader = _KeptLoader(spec.loader.name, spec.loader.path)
        return spec


@cache
def _use_what_is_kept() -> None:
    sys.meta_path.insert(0, _KeptFinder())


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


def _reach(start: _Source, within: frozenset[str], without: frozenset[str]) -> list[_Source]:
    """The module and every module of ours that it imports, directly or not, by name.

    Loaded or not: a module that is imported only when it is needed counts before that too.
    """
    found = {start.module: start}
    waiting = [start]
    while waiting:
        for source in _imported(waiting.pop(), within):
            if source.module not in found and source.module not in without:
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
    """The module of that name, as its text was taken: now, if it was not before.

    None if it is no module (a name in one), or not written in Python.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # what it would be in is no package; or it is the script that is run
        return None
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return None
    if name not in _kept:
        seen = _seen(spec.origin or "")
        text = spec.loader.get_source(name)
        if text is None:
            return None
        _kept[name] = _File(text, seen)
    return _Source(name, spec.parent or "", _kept[name].text)


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
