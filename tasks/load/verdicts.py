"""What a replay says of each rejected record, and how it is written down.

* `accepted`: a row of it is stored now;
* `duplicate`: its key and values are stored already, or another record of the batch said the same;
* `filtered`: it passes, and a step leaves it out on purpose;
* `split`: its message can be read now, and records within it are rejected, each as a record of its own;
* `rejected`: still, by today's rules.

Every verdict is a row of `store.replays`, which is append-only; `store.rejected` holds the last one. A record
that was accepted so and whose row a reprocess withdraws is rejected again, and open.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lineage.rejected import JUDGED_LAST, MAY_PASS, record_hashes
from tasks.batch import REJECTED_SCHEMA, Refined
from tasks.load.plan import Commit
from tasks.load.rejected import contract_versions, identities, insert_rejected
from tasks.load.row_id import RowId

OWN = "its own"
"""Marks a row at issue; no contract's column has a space in its name."""
OPEN_SCHEMA = pl.Schema(
    {
        "identity": pl.Binary(),
        "sequence": pl.Int32(),
        "part": pl.Int32(),
        "rules": pl.List(pl.String()),
        "judged": pl.Boolean(),
    }
)
"""An open record: where it is, the rules it broke when it was judged last, and whether by today's version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of one record; `today`: its rejected row (REJECTED_SCHEMA, its own part) when it stays rejected."""

    identity: bytes
    verdict: str
    rules_before: Sequence[str]
    today: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Of all records; `fresh`: rejected rows of messages that were split; `absent`: records without a row."""

    records: Sequence[Verdict]
    fresh: pl.DataFrame
    absent: int


def at_issue(refined: Refined, records: pl.DataFrame) -> Refined:
    """Only today's rows that concern the open records (OPEN_SCHEMA, n): what was accepted before stays.

    A record without a part is its whole message, and a row without a part speaks for all of its message.
    """
    whole = records.filter(pl.col("part").is_null())["sequence"].unique()
    every = records["sequence"].unique()
    own = records.select("sequence", "part", pl.lit(True).alias(OWN)).unique()

    def concerned(frame: pl.DataFrame) -> pl.DataFrame:
        marked = frame.join(own, on=["sequence", "part"], how="left", nulls_equal=True, maintain_order="left")
        sequence, part = pl.col("sequence"), pl.col("part")
        speaks_for_all = part.is_null() & sequence.is_in(every.implode())
        taken = pl.col(OWN).fill_null(False) | sequence.is_in(whole.implode()) | speaks_for_all
        return marked.filter(taken).drop(OWN)

    accepted = {table: concerned(rows) for table, rows in refined.accepted.items()}
    rejected, filtered = concerned(refined.rejected), concerned(refined.filtered_rows)
    read = sum(rows.height for rows in accepted.values()) + rejected.height + filtered.height
    return replace(
        refined,
        accepted=accepted,
        rejected=rejected,
        duplicates=0,
        filtered=filtered.height,
        read=read,
        filtered_rows=filtered,
    )


def unseen(records: pl.DataFrame, refined: Refined) -> pl.DataFrame:
    """The open records (OPEN_SCHEMA, n) of which nothing was made: another record of theirs said the same."""
    seen = _seen(refined)
    absent = [not _of(seen, sequence, part) for sequence, part in _places(records)]
    return records.filter(pl.Series(absent, dtype=pl.Boolean))


def _seen(refined: Refined) -> Mapping[int, set[RowId]]:
    """Sequence → where its rows stand."""
    seen: dict[int, set[RowId]] = defaultdict(set)
    for frame in (*refined.accepted.values(), refined.rejected, refined.filtered_rows):
        for place in _places(frame):
            seen[place[0]].add(place)
    return seen


def _of(seen: Mapping[int, set[RowId]], sequence: int, part: int | None) -> set[RowId]:
    """What was made of one record: of its whole message, or of its part of it."""
    return {place for place in seen.get(sequence, ()) if part is None or place[1] in (None, part)}


def judge(records: pl.DataFrame, refined: Refined, stored: Refined) -> Verdicts:
    """The verdict of every open record: `refined` is what it is today, `stored` what became of that.

    None of a record of which today's version says again what it said last.
    """
    seen = _seen(refined)
    kept = {place for rows in stored.accepted.values() for place in _places(rows)}
    filtered = set(_places(stored.filtered_rows))
    broken = {(row["sequence"], row["part"]): row for row in stored.rejected.iter_rows(named=True)}
    verdicts: list[Verdict] = []
    absent, own = 0, set(_places(records))
    for identity, sequence, part, rules, judged in records.iter_rows():
        places = _of(seen, sequence, part)
        again = broken.get((sequence, part)) or broken.get((sequence, None))
        if judged and again is not None and again["rules"] == rules:
            continue
        absent += not places
        if again is not None:
            verdict, again = "rejected", {**again, "part": part}
        elif places & broken.keys():
            verdict = "split"
        else:
            ends = (("accepted", kept), ("filtered", filtered))
            verdict = next((end for end, those in ends if places & those), "duplicate")
        verdicts.append(Verdict(identity=identity, verdict=verdict, rules_before=rules, today=again))
    fresh = [row for place, row in broken.items() if place not in own and place[1] is not None]
    return Verdicts(records=verdicts, fresh=_frame(fresh), absent=absent)


async def write_verdicts(commit: Commit, verdicts: Verdicts, stored: Refined) -> Refined:
    """Write the verdicts and the fresh rejected rows; returns the books of the replay.

    rejected = records that stay rejected (`store.replays`) + fresh ones (`store.rejected`, of this batch).
    """
    fresh = await insert_rejected(commit, verdicts.fresh)
    still = [verdict for verdict in verdicts.records if verdict.verdict == "rejected"]
    await _write_history(commit, verdicts.records)
    await _reject_again(commit, still)
    await commit.connection.execute(
        "UPDATE store.rejected SET resolved_by = $1 WHERE identity = ANY($2::bytea[])",
        commit.number,
        [verdict.identity for verdict in verdicts.records if verdict.verdict != "rejected"],
    )
    rejected = pl.concat([_frame([v.today for v in still if v.today is not None]), fresh])
    duplicates = stored.duplicates + verdicts.absent + verdicts.fresh.height - fresh.height
    accepted = sum(rows.height for rows in stored.accepted.values())
    read = accepted + rejected.height + duplicates + stored.filtered
    return replace(stored, rejected=rejected, duplicates=duplicates, read=read)


async def reject_again(commit: Commit, rejected: pl.DataFrame) -> pl.DataFrame:
    """Reopen the records of these rows (REJECTED_SCHEMA, n) that were rejected once and are resolved.

    Each is a verdict of this commit, as after a replay; returns their rows.
    """
    ids = identities(commit, rejected)
    resolved = await commit.connection.fetch(
        "SELECT identity, rules FROM store.rejected "
        "WHERE identity = ANY($1::bytea[]) AND resolved_by IS NOT NULL",
        ids.to_list(),
    )
    rules = {row["identity"]: row["rules"] for row in resolved}
    again = {
        identity: Verdict(identity=identity, verdict="rejected", rules_before=rules[identity], today=row)
        for identity, row in zip(ids, rejected.iter_rows(named=True), strict=True)
        if identity in rules
    }
    await _write_history(commit, list(again.values()))
    await _reject_again(commit, list(again.values()))
    return _frame([verdict.today for verdict in again.values() if verdict.today is not None])


async def _write_history(commit: Commit, verdicts: Sequence[Verdict]) -> None:
    again = [v.identity for v in verdicts if v.today is not None]
    stood = await commit.connection.fetch(JUDGED_LAST, again)
    hashes = record_hashes(stood, commit.keys) if stood else []
    before = dict(zip((row["identity"] for row in stood), hashes, strict=True))
    await commit.connection.executemany(
        "INSERT INTO store.replays (identity, batch, verdict, rules_before, rules, before) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (
                v.identity,
                commit.number,
                v.verdict,
                v.rules_before,
                v.today["rules"] if v.today else None,
                before.get(v.identity),
            )
            for v in verdicts
        ],
    )


_JUDGEMENT = ("stage", "rules", "error_type", "message", "table", "key", "input_hash", "contract")


async def _reject_again(commit: Commit, still: Sequence[Verdict]) -> None:
    """One more attempt, and today's reasons; identity, batch and rejected_at stay the first ones."""
    rows = _frame([v.today for v in still if v.today is not None]).with_columns(contract_versions(commit))
    await commit.connection.executemany(
        "UPDATE store.rejected SET resolved_by = NULL, attempts = attempts + 1, stage = $2, rules = $3, "
        "error_type = $4, message = $5, table_name = $6, key = $7, input_hash = $8, contract = $9, "
        "may_pass = $10 WHERE identity = $1",
        [
            (v.identity, *row)
            for v, row in zip(
                still,
                rows.select(*_JUDGEMENT, MAY_PASS).iter_rows(),
                strict=True,
            )
        ],
    )


def _places(frame: pl.DataFrame) -> list[RowId]:
    return frame.select("sequence", "part").rows()


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=REJECTED_SCHEMA, orient="row")
