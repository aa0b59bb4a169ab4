"""Every query of more than three lines stands in a file, whose first line says what it answers."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("console", "flows", "tasks", "infra", "lineage")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).glob("**/queries/*"))
_QUERY = re.compile(r"\b(SELECT|INSERT INTO|DELETE FROM|CREATE TABLE|MATCH \(|MERGE \(|UNWIND)\b")


def _of_many_lines(path: Path) -> Iterator[str]:
    """The queries in a module that are longer than three lines; what is put together of parts is none."""
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            said = str(node.value.value).strip()
            if said.count("\n") > 2 and _QUERY.search(said):
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_module_holds_a_long_query() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert [place for path in modules for place in _of_many_lines(path)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}/{path.name}")
def test_a_query_says_what_it_answers_and_is_asked_once(path: Path) -> None:
    first, _, text = path.read_text(encoding="utf-8").partition("\n")
    assert re.fullmatch(r"(--|//) [A-Z].{10,105}\.", first), first
    assert text.strip()
    beside = [module.read_text(encoding="utf-8") for module in path.parents[1].glob("*.py")]
    asked = Counter(
        name for text in beside for name in re.findall(r'query_files\.read\(__package__, "([^"]+)"\)', text)
    )
    assert asked[path.name] == 1
