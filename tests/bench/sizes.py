"""How much is measured; the defaults fit ten minutes in all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    rounds: int = 3  # of each comparison
    messages: int = 300_000  # drained from a persistent session
    few: int = 100_000  # messages drained where it is told how the rate grows
    devices: int = 1_000  # that send them, and a hundredth and a hundred times as many
    held: int = 20_000  # rows in the table before, and ten and a hundred times as many
    rows: int = 1_000_000  # of a file
    stored: int = 2_000_000  # rows in the table that is read; a tenth of them is the reference
    rate: int = 10_000  # messages a second, for latencies
    seconds: int = 10  # of that rate
    entries: int = 20_000  # of the log, carried by the relay
    nodes: int = 20_000  # of the graph that is audited; five times as many edges
    runs: int = 5  # of a robot in a round
