"""Proves what is stored: Postgres against the lineage log against the graph."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from flows.acts.from_bytes import makers
from flows.catalog import Catalog
from flows.process import stores
from flows.process.counting import metrics
from infra import anchors, key_file
from infra.settings import Settings
from lineage import graph as graphs
from lineage import seal
from lineage.errors import HeadwaterError, VerificationError
from lineage.ports import Connection
from lineage.proof import Progress, Proof, last_vouched, sealed_before
from lineage.proof import prove as prove_stored
from tasks.again.made_again import make_again
from tasks.look.verify import stored_shapes

NAME = "proof"


class DifferencesError(VerificationError):
    """A proof found differences; its sentence counts all of them, the list is `headwater prove`'s."""

    def __init__(self, proof: Proof) -> None:
        HeadwaterError.__init__(self, f"{proof.sentence}. `headwater prove` lists them.")
        self.differences = proof.differences


def _tell_no_one(_what: str, _done: int) -> None:
    """Nobody watches a scheduled run."""


async def prove(
    settings: Settings,
    catalog: Catalog,
    progress: Progress = _tell_no_one,
    *,
    full: bool = False,
    since: datetime | None = None,
    from_bytes: bool = False,
) -> Proof:
    """Check Postgres against the lineage log against the graph; the outcome is counted, a clean one anchored.

    What is new since the last clean proof that the anchors vouch for, everything if they vouch for none; or
    what was sealed from `since` on; or everything (`full`), and then there is no `since`.
    `from_bytes`: rows of the batches that it reads are made again from their messages besides.
    """
    async with (
        stores.open_connection(settings, "prove", statement_timeout=timedelta(0)) as connection,
        stores.open_graph(settings) as graph,
    ):
        await graphs.migrate(graph)
        store = await seal.identity(connection)
        kept = anchors.read(settings.anchors, store)
        proof = await prove_stored(
            connection,
            graph,
            await stored_shapes(connection),
            progress,
            after=await _after(connection, kept, full, since),
            anchors=kept,
            accepted=anchors.restores(settings.anchors, store),
            keys=key_file.read(settings.digest_keys),
            strangers=anchors.strangers(settings.anchors, store),
            make_again=partial(make_again, await makers(connection, catalog), progress)
            if from_bytes
            else None,
        )
    if proof.ok and proof.seal:
        newest = seal.Anchor(
            seal=proof.seal,
            hash=bytes.fromhex(proof.seal_hash),
            proved=since is None,  # else what is before `since` was not read
        )
        anchors.append(settings.anchors, store, newest)
    metrics().proved(proof.total, datetime.now(UTC))
    return proof


async def _after(
    connection: Connection, kept: Sequence[seal.Anchor], full: bool, since: datetime | None
) -> int:
    """The last seal that is taken as proved, 0 when everything is read."""
    if full:
        return 0
    return await (last_vouched(connection, kept) if since is None else sealed_before(connection, since))
