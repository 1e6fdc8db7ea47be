"""What was noted and is to be written, in order."""

from collections.abc import Iterator
from typing import Any

from .. import validation

Entry = tuple[str, dict[str, Any]]  # a method of the lifecycle, and its arguments


def joined(entries: list[Entry]) -> Iterator[Entry]:
    """Yield entries, what was put out in small parts as few large ones."""
    parts: list[str] = []
    name, size = "", 0
    for entry in entries:
        text = entry[1]["text"] if entry[0] == "output" else ""
        if parts and (entry[0] != "output" or entry[1]["name"] != name or size + len(text) > validation.MAX_OUTPUT):
            yield "output", {"text": "".join(parts), "name": name}
            parts, size = [], 0
        if entry[0] == "output":
            parts.append(text)
            name, size = entry[1]["name"], size + len(text)
        else:
            yield entry
    if parts:
        yield "output", {"text": "".join(parts), "name": name}
