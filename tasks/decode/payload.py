"""Why a payload, or a file, gives no record at all: each rule and its sentence."""

from typing import Final

PAYLOAD_SENTENCES: Final = {
    "payload.empty": "the message is empty",
    "payload.size": "the message is longer than the contract takes",
    "payload.utf8": "the message is not UTF-8 text",
    "payload.json": "the message is not JSON",
    "payload.object": "the message is JSON but not an object",
    "payload.cells": "the line has more or fewer cells than columns have names, or a quote out of place",
    "payload.parquet": "the file is not Parquet",
    "key.conflict": "its key came before with other values",
}
