"""Writes the table of docs/settings.md from the model, so that the two cannot disagree.

`python -m infra.settings_doc` rewrites it; a test fails when that was forgotten.
"""

from pathlib import Path

from infra.settings import Settings, shown, variable

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


def table() -> str:
    """One Markdown row per setting, in the model's order."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = shown(field.get_default())
        default = f"`{default}`" if default else ""
        lines.append(
            f"| `{variable(name)}` | {default} | {(field.description or '').replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines)


def rendered(document: str) -> str:
    """The document with its table replaced."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
