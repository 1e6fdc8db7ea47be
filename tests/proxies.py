"""The proxies of deploy/, run as they are shipped: only addresses, paths and users are those of a test.

They stand before two servers whose Unix sockets are ``1.sock`` and ``2.sock`` in a folder, and serve
``https://localhost:PORT`` with a certificate of that folder.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificate
from tests.installation import ROOT
from tests.ports import free_port
from tests.servers import Server, children, wait_until

PROGRAMS = ("nginx", "haproxy", "caddy")
CACHES = ("nginx", "varnishd")  # of public polls
PACKAGES = {"varnishd": "varnish"}  # of another name than the program
SECONDS = 20.0  # how long a check, a reload or an end may take
HAS_IPV6 = Path("/proc/net/if_inet6").exists()


class Proxy(Server):
    """One program with its file.

    Args:
        folder: Where all of its files go; its path is short enough for that of a Unix socket.

    """

    file: str  # in deploy/
    check: tuple[str, ...]
    command: tuple[str, ...]
    program: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        self.ws_url = f"wss://localhost:{self.port}"
        self.key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        if not self.key.exists():  # the proxies of a folder share one
            certificate(folder)
        self.log = folder / f"{self.program}.log"
        self.config = folder / self.file
        self.config.write_text(self._adapted((ROOT / "deploy" / self.file).read_text()))

    @property
    def trusting(self) -> ssl.SSLContext:
        """What a client needs to trust it."""
        return ssl.create_default_context(cafile=self.certificate)

    def start(self) -> "Proxy":
        """Start it, and wait until it listens."""
        self.launch(self._words(self.command), self._listens, env=self._env)
        return self

    def close(self) -> None:
        """End it at once."""
        if self._process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)

    def wait_for_log(self, words: str) -> None:
        """Wait until it has printed something, of which nothing else tells."""
        wait_until(lambda: words in self.log.read_text(errors="replace"), self.process, self.log)

    def checked(self) -> "subprocess.CompletedProcess[str]":
        """Have the program itself check the file."""
        words = self._words(self.check)
        return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, env=self._env)

    def reload(self) -> None:
        """Have it read its file again, as its service does, and wait until it has."""
        before = set(children(self.pid))
        self._reload()
        wait_until(lambda: bool(set(children(self.pid)) - before), self.process, self.log)

    def _reload(self) -> None:
        raise NotImplementedError

    def _replacements(self) -> dict[str, str]:
        raise NotImplementedError

    def _adapted(self, text: str) -> str:
        ours = {f"/run/progress-{number}/http.sock": f"{self.folder}/{number}.sock" for number in (1, 2)}
        for shipped, here in {**ours, **self._replacements()}.items():
            assert shipped in text, f"{self.file} has no {shipped!r} any more"
            text = text.replace(shipped, here)
        return text

    def _words(self, command: tuple[str, ...]) -> list[str]:
        return [word.format(program=installed(self.program), config=self.config, here=self.folder) for word in command]

    @property
    def _env(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Nginx(Proxy):
    """nginx, whose master process starts new workers on SIGHUP."""

    program = "nginx"
    file = "nginx.conf"
    check = ("{program}", "-t", "-e", "{here}/nginx.error", "-c", "{config}")
    command = ("{program}", "-e", "{here}/nginx.error", "-c", "{config}", "-g", "daemon off;")

    def _replacements(self) -> dict[str, str]:
        temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{each}_temp_path {self.folder}/{each};" for each in temporary)
        return {
            "user www-data;": "user root;" if os.getuid() == 0 else "",
            "http {": f"http {{ {paths}",
            "/run/nginx.pid": f"{self.folder}/nginx.pid",
            "/var/log/nginx/": f"{self.folder}/nginx.",
            "/var/lib/nginx/progress": f"{self.folder}/polls",
            "listen 80 ": f"listen 127.0.0.1:{self.plain_port} ",
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
            "listen [::]:80 ": f"listen [::1]:{self.plain_port} " if HAS_IPV6 else "# ",
            "listen [::]:443 ": f"listen [::1]:{self.port} " if HAS_IPV6 else "# ",
            "server_name example.org": "server_name localhost",
            "/etc/letsencrypt/live/example.org/fullchain.pem": str(self.certificate),
            "/etc/letsencrypt/live/example.org/privkey.pem": str(self.key),
        }

    def _reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)


class HAProxy(Proxy):
    """HAProxy, whose master process starts another worker on SIGUSR2."""

    program = "haproxy"
    file = "haproxy.cfg"
    check = ("{program}", "-c", "-f", "{config}")
    command = ("{program}", "-W", "-f", "{config}")

    def _replacements(self) -> dict[str, str]:
        both = self.folder / "both.pem"
        both.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        return {
            "user haproxy": "",
            "group progress": "",
            "bind :80": f"bind 127.0.0.1:{self.plain_port}",
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "bind :::80": f"bind [::1]:{self.plain_port}" if HAS_IPV6 else "# ",
            "bind :::443": f"bind [::1]:{self.port}" if HAS_IPV6 else "# ",
            "/etc/haproxy/site.pem": str(both),
        }

    def _reload(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)


class Caddy(Proxy):
    """Caddy, which is told by its own command, and goes on in the same process."""

    program = "caddy"
    file = "Caddyfile"
    check = ("{program}", "validate", "--adapter", "caddyfile", "--config", "{config}")
    command = ("{program}", "run", "--adapter", "caddyfile", "--config", "{config}")

    def _replacements(self) -> dict[str, str]:
        ports = f"http_port {self.plain_port}\n\thttps_port {self.port}"
        return {
            "\n{\n": f"\n{{\n\tadmin unix/{self.folder}/admin.sock\n\t{ports}\n",
            "\nexample.org {": "\nlocalhost {",
            "# With a certificate of your own: tls": "tls",
            "/etc/caddy/fullchain.pem": str(self.certificate),
            "/etc/caddy/privkey.pem": str(self.key),
        }

    def reload(self) -> None:
        """Have it read its file again; its command returns when it has."""
        where = ("--address", f"unix/{self.folder}/admin.sock")
        how = ("{program}", "reload", "--adapter", "caddyfile", "--config", "{config}", "--force", *where)
        done = subprocess.run(self._words(how), capture_output=True, text=True, timeout=SECONDS, env=self._env)
        assert done.returncode == 0, done.stderr


class Varnish(Proxy):
    """Varnish, which serves public polls alone, without TLS."""

    program = "varnishd"
    file = "varnish.vcl"
    check = ("{program}", "-j", "none", "-C", "-f", "{config}", "-n", "{here}/varnish")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"http://localhost:{self.port}"
        shipped = re.search(r"^#   varnishd (.*?[^\\])\n", self.config.read_text(), re.MULTILINE | re.DOTALL)
        assert shipped is not None
        options = re.sub(r"\\\n# *", "", shipped[1])
        ours = {"127.0.0.1:6081": f"127.0.0.1:{self.port}", "/etc/varnish/default.vcl": "{config}"}
        for theirs, here in ours.items():
            assert theirs in options
            options = options.replace(theirs, here)
        # In the foreground, and as who runs the tests, whose folder it is.
        self.command = ("{program}", "-F", "-j", "none", "-n", "{here}/varnish", *options.split())

    def _replacements(self) -> dict[str, str]:
        return {}


def proxy(program: str, folder: Path) -> Proxy:
    """Return a proxy, not started yet; skip the test if the program is not installed."""
    if installed(program) is None:
        pytest.skip(f"no {program}: install the package {PACKAGES.get(program, program)}")
    kinds: dict[str, type[Proxy]] = {"nginx": Nginx, "haproxy": HAProxy, "caddy": Caddy, "varnishd": Varnish}
    return kinds[program](folder)


def installed(program: str) -> Any:
    """Return the path of a program, also of one for root alone."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")
