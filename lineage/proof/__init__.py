"""The proof: everything stored, computed again; one file a check.

proving ── walk (chains, seals) · mirror (graph) · batches ── books, messages, rejected, entries, acts …
"""

from .outcome import Proof
from .proving import Progress, prove
from .since import last_proved, last_vouched, sealed_before

__all__ = ["Progress", "Proof", "last_proved", "last_vouched", "prove", "sealed_before"]
