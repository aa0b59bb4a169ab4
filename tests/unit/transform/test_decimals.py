"""A decimal is the digits that were sent, whatever they were sent in, or its record is rejected."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.digest import row_hashes
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference, Refined
from tasks.canonical import canonical_key
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.pattern import topic_pattern
from tasks.table_definition import TableDefinition
from tasks.transform.transforms import Parameters, bound

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT = "2026-11-21T08:00:00Z"
MANY = 40  # messages of a shape, so that it is learned
EXACT = Context(prec=100)


def contract(**amount: Any) -> Contract:
    columns = {"id": {"type": "text"}, "at": {"type": "timestamp"}, "amount": {"type": "decimal", **amount}}
    said = {"key": ["id", "at"], "time": "at", "columns": columns}
    return TableDefinition.model_validate(said).contract("orders")


def refined(contract: Contract, messages: Sequence[bytes], layout: Layout | None = None) -> Refined:
    rows = [(f"orders/{number}", message) for number, message in enumerate(messages)]
    frame = pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="mqtt:o", messages=frame, received_at=NOW, received_until=NOW, layout=layout)
    refine = bound("readings", {"orders": contract}, Parameters(source_name="s"))
    return refine(batch, Reference(frames={}))


def outcomes(found: Refined) -> list[Any]:
    """The value of each record, or the rules that it breaks, in their order."""
    order = ["sequence", "part"]
    rows = (
        found.accepted["orders"].select(*order, "amount").rows()
        + found.rejected.select(*order, "rules").rows()
    )
    return [outcome for *_, outcome in sorted(rows, key=lambda row: row[:2])]


def as_json(contract: Contract, texts: Sequence[str]) -> list[Any]:
    """Numbers, in any form that JSON has."""
    messages = [f'{{"id": "o-{n}", "at": "{AT}", "amount": {text}}}' for n, text in enumerate(texts)]
    return outcomes(refined(contract, [message.encode() for message in messages]))


def as_text(contract: Contract, texts: Sequence[str]) -> list[Any]:
    return as_json(contract, [json.dumps(text) for text in texts])


def as_csv(contract: Contract, texts: Sequence[str]) -> list[Any]:
    lines = "".join(f"o-{number},{AT},{text}\n" for number, text in enumerate(texts))
    return outcomes(refined(contract, [b"id,at,amount\n", lines.encode()], Layout(format=Format.CSV)))


def as_parquet(contract: Contract, values: pl.Series) -> list[Any]:
    ids = pl.Series("id", [f"o-{number}" for number in range(values.len())])
    frame = pl.DataFrame([ids, values.alias("amount")]).with_columns(at=pl.lit(NOW))
    frame.write_ipc(payload := BytesIO())
    return outcomes(refined(contract, [payload.getvalue()], Layout(format=Format.PARQUET)))


def as_strings(contract: Contract, texts: Sequence[str]) -> list[Any]:
    return as_parquet(contract, pl.Series(texts, dtype=pl.String))


WAYS = pytest.mark.parametrize("way", [as_json, as_text, as_csv, as_strings])
Way = Callable[[Contract, Sequence[str]], list[Any]]


@st.composite
def columns_and_numbers(draw: st.DrawFn) -> tuple[int, int, list[str]]:
    """Digits of a column, and numbers as JSON writes them: most of them fit, some by their zeros alone."""
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    return precision, scale, draw(st.lists(numbers(precision, scale), min_size=1, max_size=8))


@st.composite
def numbers(draw: st.DrawFn, precision: int, scale: int) -> str:
    digits = draw(st.integers(0, 10 ** draw(st.integers(0, precision)) - 1) | st.integers(0, 10**45))
    value = EXACT.scaleb(Decimal(digits), -draw(st.integers(0, scale) | st.integers(0, 45)))
    moved = draw(st.integers(-12, 12))
    text = format(EXACT.scaleb(value, -moved) if moved else value, "f")
    zeros = draw(st.integers(0, 3))
    text += ("0" if "." in text else ".0") * zeros if zeros else ""
    text = text if text.count(".") < 2 else text.split(".")[0]
    sign, e = draw(st.sampled_from(["", "-"])), draw(st.sampled_from(["e", "E"]))
    return f"{sign}{text}{e}{moved}" if moved else f"{sign}{text}"


def expected(text: str, precision: int, scale: int) -> Any:
    """What a column of these digits makes of it, by Python's decimals, which are made without rounding."""
    value = EXACT.normalize(Decimal(text))
    first, last = value.adjusted(), int(value.as_tuple().exponent)  # places of its outermost digits
    broken = {"precision": first >= precision - scale, "scale": last < -scale} if value else {}
    rules = [f"amount.{kind}" for kind, is_broken in broken.items() if is_broken]
    return rules or EXACT.quantize(value if value else Decimal(0), Decimal(1).scaleb(-scale))


@settings(max_examples=150, deadline=None)
@given(columns_and_numbers())
def test_every_way_reads_exactly_the_digits(said: tuple[int, int, list[str]]) -> None:
    precision, scale, texts = said
    amounts = contract(precision=precision, scale=scale)
    wanted = [expected(text, precision, scale) for text in texts]
    for way in (as_json, as_text, as_csv, as_strings):
        found = way(amounts, texts)
        assert list(map(str, found)) == list(map(str, wanted)), way


@settings(max_examples=60, deadline=None)
@given(columns_and_numbers())
def test_a_value_depends_on_its_record_alone(said: tuple[int, int, list[str]]) -> None:
    precision, scale, texts = said
    amounts = contract(precision=precision, scale=scale)
    together = as_json(amounts, [*texts, *["0"] * MANY])
    assert together[: len(texts)] == [each for text in texts for each in as_json(amounts, [text])]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 38))
def test_a_decimal_of_parquet_is_read_whatever_its_own_digits_are(
    data: st.DataObject, precision: int
) -> None:
    theirs = data.draw(st.integers(0, precision))
    scale = data.draw(st.integers(0, 38))
    unscaled = data.draw(
        st.lists(st.integers(-(10**precision) + 1, 10**precision - 1), min_size=1, max_size=5)
    )
    values = [EXACT.scaleb(Decimal(each), -theirs) for each in unscaled]
    series = pl.Series(values, dtype=pl.Decimal(precision, theirs))
    found = as_parquet(contract(scale=scale), series)
    assert list(map(str, found)) == [str(expected(format(value, "f"), 38, scale)) for value in values]


@pytest.mark.parametrize(
    ("dtype", "value", "outcome"),
    [
        (pl.Int64, 2**63 - 1, Decimal(2**63 - 1)),
        (pl.UInt64, 2**64 - 1, Decimal(2**64 - 1)),
        (pl.Int8, -5, Decimal(-5)),
        (pl.Float64, 1.5, ["amount.type"]),  # 0.1 of a file is no 0.1
        (pl.Boolean, True, ["amount.type"]),
    ],
)
def test_a_whole_number_of_parquet_is_exact_and_a_double_is_none(
    dtype: Any, value: Any, outcome: Any
) -> None:
    assert as_parquet(contract(scale=0), pl.Series([value], dtype=dtype)) == [outcome]


@WAYS
@pytest.mark.parametrize("copies", [1, MANY])
def test_what_is_no_number_of_the_column_says_why(way: Way, copies: int) -> None:
    amounts = contract(precision=4, scale=2)
    told = {
        "12.30": Decimal("12.30"),
        "-0.00": Decimal("0.00"),
        "12.345": ["amount.scale"],
        "123.4": ["amount.precision"],
        "123.456": ["amount.precision", "amount.scale"],
        "1e400": ["amount.precision"],
        "1e-400": ["amount.scale"],
        "0e99999999999999999999": Decimal("0.00"),
        "1.23e1": Decimal("12.30"),
        "1230000000000e-11": Decimal("12.30"),
        "NaN": ["amount.finite"],
        "-Infinity": ["amount.finite"],
    }
    assert way(amounts, [text for text in told for _ in range(copies)]) == [
        outcome for outcome in told.values() for _ in range(copies)
    ]


@pytest.mark.parametrize("way", [as_text, as_csv, as_strings])
def test_texts_that_json_has_no_number_for(way: Way) -> None:
    amounts = contract(precision=4, scale=2)
    told = {
        "+5": Decimal("5.00"),
        ".5": Decimal("0.50"),
        "5.": Decimal("5.00"),
        "007.50": Decimal("7.50"),
        "1e99999999999999999999999": ["amount.precision"],
        "-1e-99999999999999999999999": ["amount.scale"],
        "inf": ["amount.finite"],
        **{text: ["amount.type"] for text in ("abc", ".", "-", "1e", "e1", "1.2.3", "5 ", "0x10", "1_000")},
        "\u0661": ["amount.type"],  # a digit, of another script
    }
    assert way(amounts, list(told)) == list(told.values())
    assert as_text(amounts, ["", "12,30"]) == [["amount.type"]] * 2


def test_what_is_no_number_of_json_is_none() -> None:
    assert as_json(contract(scale=2), ["true", "[1]", '{"a": 1}', "null"]) == [["amount.type"]] * 3 + [None]


def test_a_number_that_a_double_would_change_arrives_whichever_way_it_is_read() -> None:
    """By a shape, and by records, where an exponent stands beside it or other numbers are not finite."""
    amounts, text = contract(scale=30), "0.100000000000000005551115123126"
    assert as_json(amounts, [text] * MANY) == [Decimal(text)] * MANY
    payload = f'{{"id": "a", "at": "{AT}", "other": 1e5, "amount": {text}, "amount": {text}}}'
    assert outcomes(refined(amounts, [payload.encode()])) == [Decimal(text)]
    columns = (*amounts.columns, amounts.column("amount").model_copy(update={"name": "tax"}))
    two = amounts.model_copy(update={"columns": columns})
    payload = f'{{"id": "a", "at": "{AT}", "tax": NaN, "amount": 1{text}e1}}'
    assert outcomes(refined(two, [payload.encode()])) == [["tax.finite"]]


def test_a_message_that_is_too_deep_is_rejected_whatever_its_numbers_are() -> None:
    def nested(levels: int, amount: str) -> bytes:
        deep = '{"a":' * levels + "1" + "}" * levels
        return f'{{"id": "a", "at": "{AT}", "deep": {deep}, "amount": {amount}}}'.encode()

    amounts = contract(scale=2)
    for amount in ("1", "1.5", '"1.5"', "null"):
        for copies in (1, MANY):
            assert outcomes(refined(amounts, [nested(300, amount)] * copies)) == [["payload.json"]] * copies
        assert outcomes(refined(amounts, [nested(150, amount)])) != [["payload.json"]]


def test_the_rules_of_a_decimal_are_exact() -> None:
    amounts = contract(scale=20, minimum=0.1, maximum=Decimal("0.12345678901234567890"))
    texts = ["0.1", "0.09999999999999999999", "0.1234567890123456789", "0.12345678901234567891"]
    out = ["amount.range"]
    assert as_json(amounts, texts) == [Decimal(texts[0]), out, Decimal(texts[2]), out]
    rates = contract(scale=2, one_of=[0.07, 0.19], default=0.19, null_values=[-1, "n/a"])
    found = as_text(rates, ["0.07", "0.190", "0.2", "-1.00", "n/a"])
    assert found == [Decimal("0.07"), Decimal("0.19"), ["amount.one_of"], Decimal("0.19"), Decimal("0.19")]
    sizes = contract(scale=2, map={"low": 0.5, "high": Decimal("1000000000000000.25")})
    assert as_csv(sizes, ["low", "high", "other"]) == [
        Decimal("0.50"),
        Decimal("1000000000000000.25"),
        ["amount.map"],
    ]
    assert as_json(contract(scale=2, constant="1.10"), ["7"]) == [Decimal("1.10")]


def test_a_decimal_stands_in_a_topic() -> None:
    said = contract(scale=2).model_dump(mode="json")
    said["columns"][2] |= {"metadata": {"topic": "amount"}}
    pattern = topic_pattern("orders/{amount}")
    of_topic = Contract.model_validate(said)
    rows = [
        ("orders/12.3", b'{"id": "a", "at": "%s"}' % AT.encode()),
        ("orders/x", b'{"id": "b", "at": "%s"}' % AT.encode()),
    ]
    frame = pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="mqtt:o", messages=frame, received_at=NOW, received_until=NOW)
    refine = bound("readings", {"orders": of_topic}, Parameters(source_name="s", pattern=pattern))
    assert outcomes(refine(batch, Reference(frames={}))) == [Decimal("12.30"), ["amount.type"]]


def test_a_key_and_a_hash_are_of_the_value() -> None:
    prices = contract(scale=2).model_copy(update={"key": ("amount", "at")})
    rows = pl.DataFrame(
        {"amount": [Decimal("12.30"), None], "at": [NOW, NOW]}, schema_overrides={"amount": pl.Decimal(12, 2)}
    )
    assert canonical_key(rows, prices).to_list() == [
        '{"amount":"12.30","at":"2026-11-21T12:00:00.000000Z"}',
        None,
    ]
    texts = ["0", "-0.5", "12", "12.3", "1000"]
    for scale in (1, 2, 20):
        frame = pl.DataFrame({"a": pl.Series(texts).cast(pl.Decimal(38, scale)), "t": texts})
        assert row_hashes(frame, ["a"]).to_list() == row_hashes(frame, ["t"]).to_list()


def test_a_decoder_of_other_contracts_reads_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("tasks.decode.strict.json.loads", never)
    floats = TableDefinition.model_validate(
        {"key": ["at"], "time": "at", "columns": {"at": {"type": "timestamp"}, "x": {"type": "float"}}}
    ).contract("t")
    payload = f'{{"at": "{AT}", "x": 1.5}}'.encode()
    assert Decoder(floats).decode(pl.Series([payload], dtype=pl.Binary)).records["x"].item() == 1.5
