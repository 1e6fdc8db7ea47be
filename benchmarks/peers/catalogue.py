"""How each peer is started; one that can't be is left out, with a printed reason."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Peer

HERE = Path(__file__).resolve().parent
MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules", "/etc/nginx/modules")


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def daphne(application: str, port: int, _: Path) -> list[str]:
    """Return the command of stock Daphne, without its access log."""
    return _python("-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application)


def uvicorn(application: str, port: int, _: Path) -> list[str]:
    """Return the command of uvicorn, without its access log."""
    quiet = "--log-level", "error", "--timeout-graceful-shutdown", "1"
    return _python("-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), *quiet, application)


def ours(env: dict[str, str]) -> Peer:
    """Return this project on its own server."""
    module = "benchmarks.peers.ours"
    return Peer("ours, serve", lambda port, _: _python("-m", module, str(port)), env, snapshots=True, exact=True)


def ours_on_daphne(env: dict[str, str]) -> Peer:
    """Return this project on stock Daphne."""
    command = functools.partial(daphne, "benchmarks.peers.ours:application")
    return Peer("ours, daphne", command, env, snapshots=True, exact=True)


def ours_on_uvicorn(env: dict[str, str]) -> Peer:
    """Return this project on uvicorn."""
    command = functools.partial(uvicorn, "benchmarks.peers.ours:application")
    return Peer("ours, uvicorn", command, env, snapshots=True, exact=True)


def tutorial(layer: str, redis_url: str = "") -> Peer:
    """Return the Channels tutorial's consumer on a layer: ``memory``, ``core`` or ``pubsub``."""
    names = {"memory": "in-memory", "core": "Redis", "pubsub": "Redis pub/sub"}
    env = {"BENCH_LAYER": layer, "REDIS_URL": redis_url}
    command = functools.partial(daphne, "benchmarks.peers.tutorial:application")
    return Peer(f"Channels tutorial, {names[layer]}", command, env)


def specification() -> Peer:
    """Return the specification's FastAPI design."""
    return Peer("specification, FastAPI", functools.partial(uvicorn, "benchmarks.peers.fastapi_spec:app"))


def bare_daphne() -> Peer:
    """Return Daphne with nothing but ``send``."""
    return Peer("bare Daphne", functools.partial(daphne, "benchmarks.peers.bare:application"))


def bare_uvicorn() -> Peer:
    """Return uvicorn with nothing but ``send``."""
    return Peer("bare uvicorn", functools.partial(uvicorn, "benchmarks.peers.bare:application"))


def bare_picows() -> Peer:
    """Return picows with nothing but ``send``."""
    return Peer("bare picows", lambda port, _: _python("-m", "benchmarks.peers.picows_server", str(port)))


def node() -> Peer | None:
    """Return `ws` on Node.js, which npm installs beside it on the first use."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        print("  left out: ws on Node.js (no node and npm on the path)")
        return None
    folder = HERE / "node"
    if not (folder / "node_modules/ws").exists():
        made = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
        if made.returncode:
            print(f"  left out: ws on Node.js (npm ci failed: {made.stderr.strip()[-200:]})")
            return None
    return Peer("ws, Node.js", lambda port, _: [program, str(folder / "server.js"), str(port)])


def nchan() -> Peer | None:
    """Return nchan inside an nginx of our own."""
    program = shutil.which("nginx") or next((str(path) for path in [Path("/usr/sbin/nginx")] if path.exists()), None)
    modules = [path for folder in MODULES for path in Path(folder).glob("ngx_nchan_module.so")]
    if program is None or not modules:
        print("  left out: nchan (no nginx, or no ngx_nchan_module.so)")
        return None

    def command(port: int, folder: Path) -> list[str]:
        values = {"@MODULE@": str(modules[0]), "@FOLDER@": str(folder), "@PORT@": str(port)}
        text = (HERE / "nchan.conf").read_text()
        for name, value in values.items():
            text = text.replace(name, value)
        config = folder / "nchan.conf"
        config.write_text(text)
        return [
            program,
            "-p",
            str(folder),
            "-c",
            str(config),
            "-g",
            "user root;" if _is_root() else "worker_processes 1;",
        ]

    return Peer("nchan, nginx", command, trigger="post")


def _is_root() -> bool:
    return os.getuid() == 0
