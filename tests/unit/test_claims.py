"""What a proof does not see stands in its documentation as it stands in the code, and nowhere twice."""

from pathlib import Path

from lineage.proof.claims import NOT_PROVED, ONLY_IN_FULL, as_text
from lineage.proof.schema import COLUMNS

DOC = Path(__file__).parents[2] / "docs" / "proof.md"


def test_the_documentation_says_what_the_code_says() -> None:
    assert as_text() in DOC.read_text(encoding="utf-8")


def test_what_is_not_proved_is_there() -> None:
    for listed in (NOT_PROVED, ONLY_IN_FULL):
        for table, columns in listed.items():
            assert columns.keys() <= {*COLUMNS[table].split(), "+", "-"}, table
            assert all(columns.values())
