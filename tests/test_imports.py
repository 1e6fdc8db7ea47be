"""Who may import whom. Read from the sources, so that an import within a function counts as well."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from django.apps import apps

from tests.installation import ROOT

APPS = "jobs", "progress", "demo"

# The rooms of progress, from the bottom; what is in none, such as `progress.views`, stands on top of them all.
LAYERS: list[set[str]] = [
    {"source"},
    {"conf", "models", "protocol"},
    {"broker", "identity"},
    {"delivery"},
    {"polling"},
    {"transports"},
]

# No I/O, no Django, no event loop: their tests need none of these either.
PURE = [
    "jobs.batches",
    "jobs.events",
    "jobs.exceptions",
    "jobs.ids",
    "jobs.rate",
    "jobs.reporting.stages",
    "jobs.retention.curve",
    "jobs.states",
    "jobs.time_left.course",
    "jobs.time_left.curves",
    "jobs.time_left.estimate",
    "jobs.time_left.history",
    "jobs.time_left.record",
    "jobs.time_left.learned",
    "progress.protocol.codes",
    "progress.protocol.exceptions",
    "progress.protocol.commands",
    "progress.protocol.event_ids",
    "progress.protocol.frames",
    "progress.protocol.position",
    "progress.broker.messages",
    "progress.identity.addresses",
    "progress.identity.limits",
    "progress.delivery.chunks",
    "progress.delivery.outbox",
    "progress.delivery.window",
    "progress.polling.windows",
    "progress.client.time_left",
    "progress.client.usual",
]
HARMLESS = {  # all that they may import
    *(
        "base64",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "ipaddress",
        "itertools",
        "json",
        "logging",
        "math",
        "re",
        "secrets",
        "statistics",
        "struct",
    ),
    *("typing", "uuid6"),
    *APPS,
}
IMPORTERS = {"__import__", "import_module", "import_string"}
DOORS = {"open", "print", "input", "exec", "eval", "breakpoint", *IMPORTERS}  # out of a pure module


def sources(folder: str) -> dict[str, Path]:
    """Return the modules of a folder by their dotted names."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "migrations" not in path.parts:
            found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = {name: path for app in APPS for name, path in sources(app).items()}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def walk(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, without what only a type checker reads unless ``types``."""
    for child in ast.iter_child_nodes(node):
        if types or not (is_for_types(child) or child is getattr(node, "annotation", None)):
            yield child
            yield from walk(child, types=types)


def absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the dotted name of what an import is from."""
    if not node.level:
        return str(node.module)
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def imports(module: str, *, types: bool = False) -> set[str]:
    """Return the dotted names that a module imports: modules, and what it takes from them."""
    found: set[str] = set()
    for node in walk(ast.parse(MODULES[module].read_text()), types=types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(module, node)
            found |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and name_of(node.func) in IMPORTERS:  # where it can be read from the source
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return found


def name_of(node: ast.AST) -> str:
    """Return a name, or the last part of a dotted one: ``open`` for both ``open`` and ``io.open``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def names(module: str) -> set[str]:
    """Return the names that a module uses at run time: those of others, and those that it takes from others."""
    nodes = list(walk(ast.parse(MODULES[module].read_text()), types=False))
    return {name_of(node) for node in nodes} | {node.name for node in nodes if isinstance(node, ast.alias)}


def reached(module: str) -> set[str]:
    """Return what is imported at run time by a module, or by those of ours that it imports."""
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if name in MODULES:
            waiting |= imports(name) - seen
    return seen


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def room(module: str) -> str:
    """Return the room that a module of progress is in, if it is in any."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and any(parts[1] in layer for layer in LAYERS) else ""


def level(room: str) -> int:
    return next((number for number, layer in enumerate(LAYERS) if room in layer), len(LAYERS))


def test_imports__go_in_no_circle() -> None:
    """Nor in one that only a type checker sees."""
    TopologicalSorter({module: imports(module, types=True) & MODULES.keys() - {module} for module in MODULES}).prepare()


@pytest.mark.parametrize("module", sources("progress"))
def test_rooms__stand_on_those_below(module: str) -> None:
    for other in imports(module, types=True) & sources("progress").keys() - {"progress"}:
        assert room(other) == room(module) or level(room(other)) < level(room(module)), other


@pytest.mark.parametrize("module", [*sources("jobs"), *sources("progress")])
def test_demo__is_what_nothing_depends_on(module: str) -> None:
    assert "demo" not in packages(imports(module, types=True))


@pytest.mark.parametrize("module", sources("jobs"))
def test_reporting__stands_on_the_rest_of_jobs(module: str) -> None:
    """Nothing below imports it: not the admin either."""
    upper = sources("jobs/reporting").keys()
    assert module in upper or not imports(module, types=True) & upper


@pytest.mark.parametrize("module", MODULES)
def test_bars_of_others__are_each_known_to_one_module(module: str) -> None:
    """Which nothing of ours imports: reporting needs neither library, and no part of this project tqdm."""
    found = imports(module, types=True)
    assert module == "jobs.reporting.tqdm" or "tqdm" not in packages(found)
    assert not found & {"jobs.reporting.tqdm", "jobs.reporting.rich"}


@pytest.mark.parametrize("module", sources("jobs"))
def test_jobs__know_nothing_of_sockets(module: str) -> None:
    bridges = {"asgiref"} if module != "jobs.threads" else set()  # the one place where asynchronous code meets the rest
    assert not packages(imports(module, types=True)) & {"progress", "progress_site", "channels", "daphne", *bridges}


@pytest.mark.parametrize("module", [*sources("jobs"), *sources("progress")])
def test_apps__can_live_anywhere(module: str) -> None:
    """They name their own parts relatively, nothing of our site, and where the jobs are, in one place."""
    found = list(walk(ast.parse(MODULES[module].read_text()), types=True))
    origins = {node.module for node in found if isinstance(node, ast.ImportFrom) and not node.level}
    origins |= {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
    ours = {"jobs"} if room(module) == "source" else set()
    assert packages(origins) & {*APPS, "progress_site", "csp", "whitenoise", "environs", "dj_database_url"} <= ours


@pytest.mark.parametrize("module", sources("progress"))
def test_progress__asks_the_selectors_and_not_the_models(module: str) -> None:
    models = {model.__name__ for model in apps.get_app_config("jobs").get_models()}
    assert room(module) == "source" or not names(module) & models


@pytest.mark.parametrize("module", PURE)
def test_pure_modules__do_no_io(module: str) -> None:
    assert packages(reached(module)) <= HARMLESS
    for each in reached(module) & MODULES.keys():
        assert not names(each) & DOORS, each


@pytest.mark.parametrize("module", sources("progress/client"))
def test_client__needs_no_django_and_nothing_else_of_ours(module: str) -> None:
    assert not packages(reached(module)) & {"django", "channels", "asgiref", "jobs"}
    assert all(name.startswith("progress.client") for name in reached(module) & MODULES.keys() - {"progress"})


def test_imports__are_found() -> None:
    """The rules above hold for a reason: the walk sees imports at the top, in functions, and for types."""
    assert "django.db.IntegrityError" in imports("jobs.lifecycle")
    assert "jobs.database" in imports("jobs.apps")
    assert "jobs.lifecycle.ProcessingJobLifecycle" in imports("jobs.reporting.tracking")
    assert "progress.source.store.ProcessingJob" in imports("progress.protocol.frames", types=True) - imports(
        "progress.protocol.frames"
    )
    assert "django" in packages(reached("jobs.selectors"))
