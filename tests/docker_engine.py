"""A Docker engine: the one that answers here, else one of our own for as long as the tests take."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import REPOSITORY, clean_environment, wait_until

BASE = "scoreline-base:bookworm"
MISSING = "is not installed: scripts/apt docker.io debootstrap, or declare SCORELINE_WITHOUT=docker"


def client() -> str:
    """Debian's own, which builds with BuildKit; others on the path may lack a part that they need for it."""
    debian = Path("/usr/bin/docker")
    found = str(debian) if debian.exists() else shutil.which("docker")
    assert found, f"docker {MISSING}"
    return found


@dataclass
class Engine:
    """An engine by its socket; empty: the client's own choice. `base` is what images begin with; empty: their own."""

    socket: str = ""
    base: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """For a process that speaks with it, with whatever reaches package registries here."""
        own = {"DOCKER_HOST": f"unix://{self.socket}"} if self.socket else {}
        folder = str(Path(client()).parent)
        return {
            **os.environ,
            **own,
            "DOCKER": client(),
            "DOCKER_BUILDKIT": "1",
            "PATH": f"{folder}:{os.environ['PATH']}",
        }

    def __call__(self, *arguments: str | Path, cwd: Path = REPOSITORY) -> str:
        """What the client prints; fails with what it says is wrong."""
        found = self.run([client(), *arguments], cwd)
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
        return found.stdout.strip()

    def run(self, command: list[str | Path], cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
        words = list(map(str, command))
        return subprocess.run(words, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=1200)

    def inspect(self, name: str) -> Any:
        (found,) = json.loads(self("inspect", name))
        return found

    def build(self, tag: str, **given: str) -> str:
        """`make image`, on this engine; packages come as they come to this machine."""
        options = {"TAG": tag, "BUILD_OPTIONS": "--network host --quiet", **given} | (
            {"BASE": self.base} if self.base else {}
        )
        command = ["make", "image", *(f"{name}={value}" for name, value in options.items())]
        found = self.run([*command])
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-4000:]
        return tag


@dataclass
class Container:
    """A running container of this engine."""

    engine: Engine
    id: str

    def port(self, inside: int) -> int:
        """Where a published port is on this machine's loopback."""
        return int(self.engine("port", self.id, f"{inside}/tcp").splitlines()[0].rpartition(":")[2])

    @property
    def state(self) -> Any:
        return self.engine.inspect(self.id)["State"]

    @property
    def log(self) -> str:
        found = self.engine.run([client(), "logs", self.id])
        return found.stdout + found.stderr

    def stop(self, patience_s: int = 30) -> int:
        """SIGTERM, and its exit code."""
        self.engine("stop", "--time", str(patience_s), self.id)
        code: int = self.state["ExitCode"]
        return code


@contextmanager
def container(
    engine: Engine,
    image: str,
    *command: str,
    publish: int = 8000,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] = {},
) -> Iterator[Container]:
    """A container with one port published on loopback; it is removed at the end, with its volumes."""
    given = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    named = engine("run", "--detach", "--publish", f"127.0.0.1::{publish}", *options, *given, image, *command)
    found = Container(engine, named)
    try:
        yield found
    except BaseException:
        print(found.log[-4000:])
        raise
    finally:
        engine("rm", "--force", "--volumes", named)


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """The engine that answers, or one of our own, which takes root and Debian's packages."""
    if subprocess.run([client(), "info"], capture_output=True, timeout=60).returncode == 0:
        yield Engine(base=os.environ.get("SCORELINE_IMAGE_BASE", ""))
        return
    found = shutil.which("dockerd")
    assert found, f"dockerd {MISSING}"
    assert os.geteuid() == 0, "no Docker engine answers, and only root can start one: SCORELINE_WITHOUT=docker"
    folder = Path(tempfile.mkdtemp(prefix="scoreline-docker-"))
    options = {"host": f"unix://{folder}/s", "data-root": folder / "data", "exec-root": folder / "exec"}
    command = [found, *(f"--{name}={value}" for name, value in options.items()), f"--pidfile={folder}/pid"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment(), start_new_session=True)
    engine = Engine(f"{folder}/s", BASE)
    try:
        wait_until(lambda: engine.run([client(), "info"]).returncode == 0, "the engine answers")
        made = engine.run([REPOSITORY / "scripts" / "image-base"])
        assert made.returncode == 0, made.stderr
        yield engine
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)
