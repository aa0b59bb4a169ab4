"""Every type of a column by its name: one file in this folder and one line here."""

from collections.abc import Mapping
from typing import Final

from tasks.types.boolean import Boolean
from tasks.types.decimal import Decimal
from tasks.types.float import Float
from tasks.types.integer import Integer
from tasks.types.json import Json
from tasks.types.text import Text
from tasks.types.timestamp import Timestamp
from tasks.types.type import Type

TYPES: Final[Mapping[str, Type]] = {
    of.name: of for of in (Text(), Float(), Integer(), Decimal(), Boolean(), Timestamp(), Json())
}
