"""What README and the pages of docs/ name is there: files, names in the code, commands, settings, URLs, codes."""

import inspect
import pkgutil
import re
from argparse import ArgumentParser
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.core.management import get_commands, load_command_class
from django.urls import Resolver404, resolve
from websockets.frames import CloseCode as StandardCode

from jobs.lifecycle import ProcessingJobLifecycle
from progress.protocol.codes import CloseCode
from progress.routing import http_urlpatterns
from progress.transports.consumers import ProgressConsumer
from progress_site.environment import OTHERS
from progress_site.health import URLS
from progress_site.routing import websocket_application
from tests.documents import BY_HAND, FENCE, PAGES, rows, section, shell_lines, spans
from tests.installation import ROOT

FOLDERS = "jobs", "progress", "demo", "progress_site", "tests", "docs", "benchmarks", "deploy"
PACKAGES = "jobs", "progress", "demo", "progress_site", "benchmarks"

on_every_page = pytest.mark.parametrize("page", PAGES)
on_pages_by_hand = pytest.mark.parametrize("page", BY_HAND)


# Files


def links(text: str) -> list[str]:
    prose = FENCE.sub("", text)
    found = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'(?:src|srcset|href)="([^"]+)"', prose)
    return [link for link in found if not re.match(r"\w+:", link)]


@on_every_page
def test_links__resolve(page: str) -> None:
    for link in links(PAGES[page]):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / unquote(name) if name else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_readme__lists_every_page() -> None:
    listed = re.findall(r"^- .*", section("README.md", "Documentation"), re.MULTILINE)
    assert sorted(links("\n".join(listed))) == sorted({*PAGES} - {"README.md"})


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paths(text: str) -> list[str]:
    pattern = rf"(?:{'|'.join(FOLDERS)})/[\w/.-]*|[\w-]+\.(?:py|js|md)"
    return [span for span in spans(text) if re.fullmatch(pattern, span)]


@cache
def files() -> list[Path]:
    return [ROOT / "manage.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]


@on_every_page
def test_paths__exist(page: str) -> None:
    names = {path.name for path in files()}
    for path in paths(PAGES[page]):
        assert (ROOT / path).exists() if "/" in path else path in names, f"{page} names `{path}`, which there is not"


@on_every_page
def test_make__targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", PAGES[page], re.MULTILINE))
    assert named <= targets
    assert page != "README.md" or {"run", "test"} <= named


# Names in the code


def dotted(text: str) -> list[str]:
    """Return the dotted names of ours, without what they are called with."""
    pattern = rf"((?:{'|'.join(PACKAGES)})(?:\.\w+)+(?::\w+)?)(?![\w/.])"
    return [name for span in spans(text) for name in re.findall(rf"(?<![\w./]){pattern}", span)]


@on_every_page
def test_dotted_names__can_be_imported(page: str) -> None:
    for name in dotted(PAGES[page]):
        assert meant_by(name) is not None, f"{page} names `{name}`, which can't be imported"


def meant_by(name: str) -> Any:
    """Return what a name stands for: a dotted one, or a method of the lifecycle; None for what is not ours."""
    if "." not in name:
        return getattr(ProcessingJobLifecycle, name, None)
    try:
        return pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return None


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Return what is called, and the names of its arguments."""
    found = [re.fullmatch(r"([\w.]+)\((.*)\)", span) for span in spans(text)]
    return [(call[1], re.findall(r"([a-z_]\w*)(?= *(?:=|,|$))", call[2])) for call in found if call]


@on_every_page
def test_calls__name_arguments_that_there_are(page: str) -> None:
    for name, arguments in calls(PAGES[page]):
        if (called := meant_by(name)) is not None:
            unknown = set(arguments) - set(inspect.signature(called).parameters)
            assert not unknown, f"{page} calls {name} with {sorted(unknown)}, which it does not take"


def test_loggers__are_those_that_there_are() -> None:
    (listed,) = re.findall(r"^The loggers are .*?\.$", PAGES["docs/troubleshooting.md"], re.MULTILINE | re.DOTALL)
    modules = [path for app in ("jobs", "progress", "progress_site") for path in (ROOT / app).rglob("*.py")]
    names = [
        path.relative_to(ROOT).with_suffix("") for path in modules if "logging.getLogger(__name__)" in path.read_text()
    ]
    assert re.findall(r"`([\w.]+)`", listed) == sorted(".".join(name.parts) for name in names)
    named_otherwise = [path.name for path in modules if re.search(r"getLogger\((?!__name__\))", path.read_text())]
    assert named_otherwise == []


# Commands and settings


@on_every_page
def test_commands__exist(page: str) -> None:
    assert set(re.findall(r"manage\.py (\w+)", PAGES[page])) <= set(get_commands())


def parser(command: str) -> ArgumentParser:
    if command == "serve":  # its options are Daphne's
        from progress.transports.daphne.server import ServeCommandLine

        found: ArgumentParser = ServeCommandLine().parser
        return found
    app: Any = get_commands()[command]
    return (load_command_class(app, command) if isinstance(app, str) else app).create_parser("manage.py", command)


def options(text: str) -> list[tuple[str, str]]:
    """Return the options that are named, each with its command: that of the code it stands in, or of its table's row.

    It is empty for an option that stands alone, and may then be any command's.
    """
    found = []
    table = {first.split()[0]: spans(" ".join(cells)) for first, cells in rows(text).items()}
    of_rows = {span: command for command, named in table.items() if command in get_commands() for span in named}
    for code in [*spans(text), *shell_lines(text)]:
        words = code.partition("#")[0].removeprefix("python ").removeprefix("manage.py ").split()
        command = words[0] if words and words[0] in get_commands() else of_rows.get(code, "")
        is_ours = command or len(words) == 1
        found += [(word, command) for word in words if re.match("--?[a-z]", word, re.IGNORECASE) and is_ours]
    return found


@on_pages_by_hand
def test_options__are_those_of_their_commands(page: str) -> None:
    ours = [name for name, app in get_commands().items() if app in ("jobs", "progress", "demo")]
    for option, command in options(PAGES[page]):
        known = {flag for each in ([command] if command else ours) for flag in flags(each)}
        assert option in known, f"{page} shows {option} of {command or 'a command'}, which does not have it"


def flags(command: str) -> set[str]:
    return set(parser(command)._option_string_actions)


def settings_named(text: str) -> set[str]:
    exports = "\n".join(line for line in shell_lines(text) if line.startswith("export "))
    return {
        *re.findall(r"(\w+)=", exports),
        *re.findall(r"\b(?:JOBS|PROGRESS|DJANGO|DATABASE|REDIS)_[A-Z][A-Z_]+\b", text),
    }


@on_every_page
def test_settings__are_on_their_page(page: str) -> None:
    """Which `test_settings_doc.py` holds to the code."""
    unknown = settings_named(PAGES[page]) - set(rows(PAGES["docs/settings.md"])) - OTHERS
    assert not unknown, f"{page} names {sorted(unknown)}, which nothing reads"


# URLs and codes


def urls(text: str) -> list[str]:
    """Return the URLs and absolute paths, other than those of files."""
    ours = re.findall(r"(?:ws|http)s?://(?:localhost|host)(?::\d+)?/[^\s`?#>)]*", text)
    return ours + re.findall(
        r"(?<![\w/.:~<])/(?!(?:dev|etc|run|srv|tmp|usr|var)\b)[\w<>{}-]+(?:/[\w<>{}-]+)*/?(?!\.\w|[\w/<>{}=-])", text
    )


def is_served(url: str) -> bool:
    """Return whether there is a WebSocket or a page at a URL; a path alone may be either's."""
    scheme, _, rest = url.rpartition("://")
    path = rest.partition("/")[2]
    return (scheme in ("", "ws", "wss") and is_socket(path)) or (scheme in ("", "http", "https") and is_page(path))


def is_socket(path: str) -> bool:
    route = next(route for route in websocket_application.routes if route.pattern.match(path))
    return route.callback.consumer_class is ProgressConsumer


def is_page(path: str) -> bool:
    if any(route.pattern.match(path) for route in http_urlpatterns):
        return True
    try:
        resolve(f"/{path}")
    except Resolver404:
        return f"/{path}" in URLS  # which are answered ahead of Django
    return True


@on_every_page
def test_urls__are_served(page: str) -> None:
    for url in urls(PAGES[page]):
        assert is_served(url), f"{page} names {url}, where nothing is"


def codes(text: str) -> set[int]:
    """Return the close codes that are named: figures have a comma, and the bounds of a band a dash."""
    return {int(code) for code in re.findall(r"(?<![\w.,–:`])(?:1|4)\d{3}(?![\w–]|[,.]\d)", text)}


@on_pages_by_hand
def test_close_codes__are_ours_or_standard(page: str) -> None:
    unknown = codes(PAGES[page]) - {*CloseCode} - {*StandardCode}
    assert not unknown, f"{page} names the close codes {sorted(unknown)}, which there are not"


# The guards


SHELL = """```
export REDIS_URL=redis://…
python manage.py serve -b 0.0.0.0   # Daphne; no --quick
```
"""


@pytest.mark.parametrize(
    ("find", "text", "found"),
    [
        (
            links,
            '[how](docs/testing.md#what) <img src="a.png"> <https://example.org>',
            ["docs/testing.md#what", "a.png"],
        ),
        (
            paths,
            "`progress/delivery/hub.py`, `window.py`, `tests/` and `send(2)`",
            ["progress/delivery/hub.py", "window.py", "tests/"],
        ),
        (
            dotted,
            "`progress.identity.tokens.issue_token(user)`, `jobs/access.py`",
            ["progress.identity.tokens.issue_token"],
        ),
        (dotted, "`uvicorn progress_site.asgi:application`", ["progress_site.asgi:application"]),
        (
            calls,
            "`mark_progress(5, current=…, total=…)` or `issue(user)`",
            [("mark_progress", ["current", "total"]), ("issue", ["user"])],
        ),
        (options, "| `watch_job ID` | `--json` for pipes |", [("--json", "watch_job")]),
        (
            options,
            "with `serve -u …` or `--proxy-headers`, not `node --test`",
            [("-u", "serve"), ("--proxy-headers", "")],
        ),
        (options, SHELL, [("-b", "serve")]),
        (settings_named, f"{SHELL} and `JOBS_MAX_THREADS`, every `PROGRESS_*`", {"REDIS_URL", "JOBS_MAX_THREADS"}),
        (
            urls,
            "<http://localhost:8000/>, `ws://host/progress/ws?epoch=…`",
            ["http://localhost:8000/", "ws://host/progress/ws"],
        ),
        (urls, "at /admin/: `/jobs/<id>/`, TCP/Unix, /run/http.sock", ["/admin/", "/jobs/<id>/"]),
        (codes, "4008 or 1006, but 4,096 sockets, `4096`, 4000–4499", {4008, 1006}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_guards__find_what_they_guard(find: Callable[[str], Any], text: str, found: object) -> None:
    assert find(text) == found
    assert any(map(find, PAGES.values()))
