"""Files that Polars scans are datasets that name themselves."""

import re
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

import polars as pl


def file_uri(paths: list[str]) -> str:
    """One name for the files of one scan: a pattern where there are several.

    Polars' plan has the paths already found, not the pattern that found them, so the pattern is
    what the paths have in common at both ends. Use `named` where it must never change.
    """
    if len(paths) == 1:
        return _uri(paths[0])
    start = _common(paths)
    rest = [path[len(start) :] for path in paths]
    end = _common([path[::-1] for path in rest])[::-1]
    return _uri(f"{start}*{end}")


def _common(texts: list[str]) -> str:
    """What all begin with."""
    first, last = min(texts), max(texts)
    for i, letter in enumerate(first):
        if i >= len(last) or letter != last[i]:
            return first[:i]
    return first


def _uri(path: str) -> str:
    if len(urlsplit(path).scheme) > 1:  # one letter is a drive
        return path
    whole = path if PurePath(path).is_absolute() else Path.cwd() / path
    return f"file:{PurePath(whole).as_posix()}"


def ipc_uris(frame: pl.LazyFrame, traverser: Any, root: int) -> dict[int, str]:
    """The names of the IPC scans of a plan, by the number of their node.

    Polars does not show their paths to a traverser, only in the plan's text, in the same order.
    """
    numbers = []
    waiting = [root]
    while waiting:
        traverser.set_node(number := waiting.pop())
        waiting.extend(reversed(traverser.get_inputs()))
        if is_ipc(traverser):
            numbers.append(number)
    uris = [_listed(text) for text in _IPC.findall(frame.explain(optimized=False))]
    return dict(zip(numbers, uris, strict=True)) if len(numbers) == len(uris) else {}


def is_ipc(traverser: Any) -> bool:
    try:
        traverser.view_current_node()
    except NotImplementedError as error:
        return str(error) == "ipc scan"
    return False


_IPC = re.compile(r"^\s*Ipc SCAN \[(.*)\]$", re.MULTILINE)


def _listed(text: str) -> str:
    """Long lists are cut by Polars: `first, ... 9 other sources`."""
    paths, cut, _ = text.partition(", ... ")
    listed = paths.split(", ")
    if cut:
        path = PurePath(listed[0])
        listed.append(str(path.with_name(path.suffix)))
    return file_uri(listed)
