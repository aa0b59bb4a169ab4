"""Structs: a field made from one column does not depend on its neighbours."""

from collections.abc import Callable, Mapping
from typing import Any

from .model import Subtype
from .values import Value, merge

DataType = Callable[[], Any]
"""The data type of the expression's result; asked for only where it is needed."""


def as_struct(inputs: list[Value], _: Any, dtype: DataType) -> Value:
    names = (field.name for field in dtype().fields)
    return merge(inputs)._replace(fields=dict(zip(names, inputs, strict=True)))


def field_by_name(inputs: list[Value], data: Any, _: DataType) -> Value:
    return field(inputs[0], data[1])


def renamed_fields(inputs: list[Value], _: Any, dtype: DataType) -> Value:
    """The same fields in the same order, under the names of the result."""
    [whole] = inputs
    if whole.fields is None:
        return merge(inputs, Subtype.TRANSFORMATION)
    names = (field.name for field in dtype().fields)
    return whole._replace(fields=dict(zip(names, whole.fields.values(), strict=True)))


def dropped_fields(inputs: list[Value], _: Any, dtype: DataType) -> Value:
    [whole] = inputs
    if whole.fields is None:
        return merge(inputs, Subtype.TRANSFORMATION)
    kept = {field.name: whole.fields[field.name] for field in dtype().fields}
    return merge(list(kept.values()))._replace(fields=kept)


def field(whole: Value, name: str) -> Value:
    """One field: its own dependencies where they are known, else those of the whole struct."""
    if whole.fields is None or name not in whole.fields:
        return merge([whole], Subtype.TRANSFORMATION)
    return whole.fields[name]


STRUCT_FUNCTIONS: Mapping[str, Callable[[list[Value], Any, DataType], Value]] = {
    "as_struct": as_struct,
    "StructFunction.FieldByName": field_by_name,
    "StructFunction.DropFields": dropped_fields,
    "StructFunction.MapFieldNames": renamed_fields,
    "StructFunction.PrefixFields": renamed_fields,
    "StructFunction.RenameFields": renamed_fields,
    "StructFunction.SuffixFields": renamed_fields,
}
