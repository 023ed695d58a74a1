"""A real PostgreSQL on a free loopback port, in a folder of its own: stopped, killed and started as a test likes."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from service import clean_environment, free_port, wait_until

USER = "scoreline"
PASSWORD = "only-for-tests"


@dataclass
class Postgres:
    """A server by its port; each test takes a schema of its own."""

    port: int
    data: Path
    process: "subprocess.Popen[bytes] | None" = None
    schemas: int = 0

    def new_schema(self) -> str:
        """The URL of an empty schema, which is what a test needs of a database; one of its own takes 300 files."""
        self.schemas += 1
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA test_{self.schemas}")
        return f"{self._url('postgres')}?options=-csearch_path%3Dtest_{self.schemas}"

    def new_database(self, name: str, encoding: str) -> str:
        """The URL of an empty database."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
        return self._url(name)

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **unprivileged())
        wait_until(self._is_up, "PostgreSQL answers", 60)

    def stop(self) -> None:
        """Ends every session, and the server in order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """The server and all its processes die at once; each of these is a group of its own."""
        if self.process is not None:
            server = psutil.Process(self.process.pid)
            server.suspend()  # it begins no other meanwhile
            family = [server, *server.children()]
            for process in family:
                process.kill()
            self.process.wait(30)
            self.process = None
            psutil.wait_procs(family, timeout=30)

    def sessions(self) -> list[psutil.Process]:
        """The processes that serve connections."""
        assert self.process is not None
        found = []
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                found += [process] if f": {USER} " in " ".join(process.cmdline()) else []
        return found

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} password={PASSWORD} dbname={database} connect_timeout=5"

    def _is_up(self) -> bool:
        try:
            psycopg.connect(self._conninfo("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """PostgreSQL, started anew and removed at the end; root runs it as `nobody`, because it refuses to be root's."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="scoreline-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody")
        data = folder / "data"
        command = [program("initdb"), "-D", str(data), "-U", USER, "--pwfile", str(folder / "password")]
        command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, **unprivileged())
        server = Postgres(port, data)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)


def unprivileged() -> dict[str, Any]:
    """What makes a process of root's one of `nobody`'s."""
    user = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    return {"cwd": "/", "env": clean_environment(), **user}


def program(name: str) -> str:
    """A program of PostgreSQL's, from the path or where Debian keeps it."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    assert found, f"{name} is not installed: scripts/apt postgresql, or declare SCORELINE_WITHOUT=postgres"
    return found
