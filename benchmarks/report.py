"""Shows results: a table on the terminal, and with ``--write`` a page with plots."""

import datetime
import importlib
import importlib.metadata
import inspect
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import svg
from benchmarks.harness import CORES, ROOT
from benchmarks.results import Ratio, Result, Row

PAGE = ROOT / "docs/benchmarks.md"
PLOTS = ROOT / "docs/benchmarks"
PACKAGES = ("django", "channels", "daphne", "twisted", "autobahn", "channels-redis", "uvicorn", "fastapi", "picows")


def figure(value: float) -> str:
    """Return a figure with about three digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def show(result: Result) -> None:
    """Print a result."""
    print(f"\n{result.title}")
    for row in result.rows:
        low, high = figure(min(row.figures)), figure(max(row.figures))
        print(f"  {row.name:<34} {figure(row.median):>9} {row.unit:<14} ({low}–{high})  {row.note}")
    for ratio in result.ratios:
        print(f"  {ratio.claim:<58} {_shown(ratio):>10}  target {_target(ratio)}  {_verdict(ratio)}")
    for remark in result.remarks:
        print(f"  {remark}")


def _shown(ratio: Ratio) -> str:
    return f"{figure(ratio.figure)} {ratio.unit}"


def _target(ratio: Ratio) -> str:
    return f"{'≥' if ratio.at_least else '≤'} {figure(ratio.target)} {ratio.unit}"


def _verdict(ratio: Ratio) -> str:
    return "met" if ratio.is_met else "NOT MET"


def write(results: list[Result], order: tuple[str, ...], command: str) -> None:
    """Write the figures and the plots of these, and the page of all claims that were ever written."""
    PLOTS.mkdir(parents=True, exist_ok=True)
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    for result in results:
        (PLOTS / f"{result.name}.svg").write_text(svg.bars(result))
        kept = {"date": today, "command": command, "machine": "\n".join(machine()), "result": asdict(result)}
        (PLOTS / f"{result.name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    stored = [path for name in order if (path := PLOTS / f"{name}.json").exists()]
    PAGE.write_text("\n".join(_page([json.loads(path.read_text()) for path in stored])) + "\n")
    print(f"\nWritten: {PAGE.name}, with {len(results)} of its {len(stored)} claims new")


def _page(stored: list[dict[str, Any]]) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield "Written by `python -m benchmarks --write`; not edited by hand.\n"
    yield "Server and load client have one core each. Peers run in turn, several rounds; the figure is the median,"
    yield "in brackets the lowest and the highest. A ratio is the median of the rounds' ratios. The load client checks"
    yield "each frame, byte by byte, for each watcher, in order; ours fails the benchmark if one event is missing.\n"
    for number, kept in enumerate(stored):
        if not number or kept["machine"] != stored[number - 1]["machine"]:
            yield f"{kept['machine']}\n"
        yield from _section(Result.of(kept["result"]))
        yield f"`{kept['command']}`, {kept['date']}\n"


def _section(result: Result) -> Iterator[str]:
    yield f"## {result.title}\n"
    claim = importlib.import_module(f"benchmarks.{result.name}")
    yield f"{inspect.cleandoc(claim.__doc__ or '')}\n"
    yield f"[benchmarks/{result.name}.py](../benchmarks/{result.name}.py)\n"
    yield f"![{result.title}](benchmarks/{result.name}.svg)\n"
    yield "| what | figure | | notes |"
    yield "|---|---:|---|---|"
    for row in result.rows:
        yield f"| {row.name} | {_spread(row)} | {row.unit} | {row.note} |"
    yield ""
    if result.ratios:
        yield "| claim | figure | target | |"
        yield "|---|---:|---:|---|"
        for ratio in result.ratios:
            verdict = "met" if ratio.is_met else "**not met**"
            yield f"| {ratio.claim} | {_shown(ratio)} | {_target(ratio)} | {verdict} |"
        yield ""
    for remark in result.remarks:
        yield f"{remark}\n"


def _spread(row: Row) -> str:
    return f"**{figure(row.median)}** ({figure(min(row.figures))}–{figure(max(row.figures))})"


def machine() -> Iterator[str]:
    """Describe what it was measured on."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    yield "| | |\n|---|---|"
    yield f"| processor | {found.group(1) if found else platform.machine()}, {len(CORES)} cores |"
    yield f"| system | {platform.system()} {platform.release()} |"
    yield f"| Python | {platform.python_version()} |"
    yield f"| packages | {', '.join(f'{name} {importlib.metadata.version(name)}' for name in PACKAGES)} |"
    yield f"| others | {', '.join(_programs())} |"


def _programs() -> Iterator[str]:
    for name, flag in (("node", "--version"), ("nginx", "-v"), ("redis-server", "--version")):
        program = shutil.which(name)
        if program:
            said = subprocess.run([program, flag], capture_output=True, text=True)
            number = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
            yield f"{name} {number.group() if number else ''}"
