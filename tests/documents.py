"""The documents, as tests read them."""

import re

from tests.installation import ROOT

# Not CHANGELOG.md, which may name what is gone.
PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in PATHS}
BY_HAND = {name: text for name, text in PAGES.items() if "not edited by hand" not in text}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(page: str, heading: str) -> str:
    """Return what a page says under a heading, up to the next of the same rank or a higher one."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading «{heading}»"
    rank, rest = found.groups()
    return re.split(rf"^#{{1,{len(rank)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the other cells of each row of the tables, by what the first cell names."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| (`|\d)", line)]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def spans(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def shell_lines(text: str) -> list[str]:
    """Return the lines of the blocks for a shell."""
    return [line for language, block in FENCE.findall(text) if not language for line in block.splitlines()]
