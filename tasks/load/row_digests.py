"""Digests of the rows of a commit: made of the bytes that are sent to Postgres, with the key of this host."""

import hmac
from collections.abc import Mapping
from datetime import datetime

import polars as pl

from infra.postgres import show_rows
from lineage.keys import Key
from lineage.row_digest import row_digest
from tasks.contract import Contract
from tasks.tables.tables import digested_columns


def digest_of(key: Key | None, contract: Contract, bucket: datetime | None = None) -> hmac.HMAC:
    """The digest of the contract's rows, to be fed with them in the order of their key."""
    return row_digest(key, contract.table, digested_columns(contract), bucket)


def digests_of(
    key: Key | None, contracts: Mapping[str, Contract], accepted: Mapping[str, pl.DataFrame]
) -> dict[str, bytes]:
    """Table → the digest of its rows (`digested_columns`, n), in whatever order they are."""
    digests = {}
    for table, rows in accepted.items():
        digest = digest_of(key, contracts[table])
        show_rows(rows.sort(contracts[table].key), digest.update)
        digests[table] = digest.digest()
    return digests
