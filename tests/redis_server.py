"""A real Redis on a free loopback port, killed and suspended as a test likes."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from postgres_server import free_port
from service import clean_environment, wait_until


@dataclass
class RedisServer:
    """A server by its port; its data live as long as the folder, and are saved when it is stopped."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        found = shutil.which("redis-server")
        assert found, "redis-server is not installed: scripts/apt redis-server, or declare SCORELINE_WITHOUT=redis"
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "appendonly": "yes", "save": ""}
        command = [found, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=clean_environment(), start_new_session=True
            )
        wait_until(self._is_up, "Redis answers", 60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def suspend(self) -> None:
        """SIGSTOP: connections are taken, and nothing is answered."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def unread(self) -> bool:
        """Whether something was sent to it that it has not read: as the kernel says of its connections."""
        mine = f":{self.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(line[1].endswith(mine) and line[3] == "01" and not line[4].endswith(":00000000") for line in lines)

    def _is_up(self) -> bool:
        with suppress(redis.RedisError), self.client as client:
            return bool(client.ping())
        return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Redis, started anew and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="scoreline-redis-"))
    server = RedisServer(free_port(), folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
