"""What a flow run shows on its page in Prefect: counts, what was rejected and why, and its lineage."""

import shlex

from prefect.artifacts import acreate_markdown_artifact

from flows.process.ours import FLOW
from infra.postgres import Pool
from infra.printable import markdown, printable
from lineage import naming
from tasks.batch import Receipt
from tasks.look.rejected_queries import BrokenRule, broken_rules


async def publish(pool: Pool, flow: str, receipt: Receipt) -> str:
    """Show the outcome of a commit as an artifact; returns it in one sentence."""
    rules = await broken_rules(pool, receipt.batch)
    sentence = _sentence(receipt)
    key = f"{FLOW}{flow}-{receipt.batch}"
    await acreate_markdown_artifact(markdown=page(receipt, rules), key=key, description=sentence)
    return sentence


def page(receipt: Receipt, rules: list[BrokenRule]) -> str:
    """The artifact's Markdown; `rules` are those that records of the batch broke."""
    outcomes = [
        *((f"accepted into `{table}`", rows) for table, rows in receipt.accepted.items()),
        ("rejected", receipt.rejected),
        ("duplicates", receipt.duplicates),
        ("filtered", receipt.filtered),
        ("**read**", receipt.read),
    ]
    lines = [f"# Batch {receipt.batch} of {markdown(receipt.dataset)}", "", _sentence(receipt), ""]
    lines += ["| records | |", "|---|---:|", *(f"| {name} | {rows:,} |" for name, rows in outcomes)]
    if rules:
        lines += ["", "| broken rule | records |", "|---|---:|"]
        lines += [f"| {markdown(broken.rule)} | {broken.records:,} |" for broken in rules]
    asked = [_asked("downstream", receipt.dataset, receipt.batch)]
    asked += [
        _asked("upstream", naming.postgres(table), receipt.batch)
        for table, rows in receipt.accepted.items()
        if rows
    ]
    return "\n".join([*lines, "", "Its lineage:", "", "```sh", *asked, "```", ""])


def _asked(audit: str, dataset: str, batch: int) -> str:
    return f"headwater audit {audit} --param {shlex.quote(printable(f'key={dataset}#{batch}'))}"


def _sentence(receipt: Receipt) -> str:
    if receipt.way == "repeat":
        return f"Nothing new: batch {receipt.batch} holds the same already."
    accepted = sum(receipt.accepted.values())
    return (
        f"Read {receipt.read:,}: {accepted:,} accepted, {receipt.rejected:,} rejected, "
        f"{receipt.duplicates:,} duplicates, {receipt.filtered:,} filtered."
    )
