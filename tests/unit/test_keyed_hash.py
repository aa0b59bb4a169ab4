"""The keyed hash of a record against its definition in plain Python."""

import hashlib
from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lineage.keyed_hash import keyed_hashes
from lineage.keys import Key

KEY = Key(bytes(range(32)))
SCHEMA = {"text": pl.String(), "number": pl.Int64(), "yes": pl.Boolean(), "at": pl.Datetime("us", "UTC")}
ROWS = st.tuples(
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)


def plainly(row: tuple[object, ...], key: Key | None) -> int:
    record = ""
    for value in row:
        if value is None:
            record += "-"
            continue
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, datetime):
            since = value - datetime(1970, 1, 1, tzinfo=UTC)
            text = str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
        else:
            text = str(value)
        record += f"{len(text.encode())}:{text}"
    inner = hashlib.sha256(record.encode()).hexdigest()
    outer = hashlib.sha256(((key.secret.hex() if key else "") + inner).encode()).digest()
    return int.from_bytes(outer[:8], "big", signed=True)


@given(st.lists(ROWS, max_size=5), st.sampled_from([KEY, None]))
def test_it_is_what_its_definition_says(rows: list[tuple[object, ...]], key: Key | None) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    assert keyed_hashes(frame, list(SCHEMA), key).to_list() == [plainly(row, key) for row in rows]


def test_texts_that_run_into_each_other_differ() -> None:
    frame = pl.DataFrame({"a": ["ab", "a", None, "-"], "b": ["c", "bc", "-", None]})
    assert keyed_hashes(frame, ["a", "b"], KEY).n_unique() == 4
