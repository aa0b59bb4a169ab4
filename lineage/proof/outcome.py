"""The outcome of a proof."""

from dataclasses import dataclass

from ..counted import counted
from .from_bytes import FromBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The outcome. `edges` are log entries; `carried` those that were carried to the graph first."""

    ok: bool
    batches: int
    rows: int
    rejected: int
    edges: int
    carried: int
    after: int  # the seals up to this one were taken as proved; 0: everything was read
    seal: int  # the last seal that was read
    seal_hash: str  # its hash, 64 hex digits: keep it elsewhere, and nothing before it can change unseen
    digest: str  # of what the seals that were read make of the graph, 16 hex digits
    differences: tuple[str, ...]
    total: int  # all differences; `differences` keeps the first of each check
    restores: tuple[str, ...] = ()  # a sentence for each that was ever accepted
    keyless: int = 0  # batches that were digested without a key: only seals and anchors protect their rows
    unshown: tuple[str, ...] = ()  # entries that were written so that no graph can show them: no difference
    from_bytes: FromBytes | None = None  # what was made again, where that was asked for

    @property
    def sentence(self) -> str:
        """What was compared, and how many differences there are."""
        differences = counted(self.total, "difference") if self.total else "no differences"
        new = f"new since seal {self.after}: " if self.after else ""
        unshown = f", {len(self.unshown):,} of them in no graph" if self.unshown else ""
        return (
            f"{new}{counted(self.batches, 'batch')}, {counted(self.rows, 'row')}, "
            f"{counted(self.rejected, 'rejected record')}, {counted(self.edges, 'edge')}{unshown}: "
            f"{differences}"
        )
