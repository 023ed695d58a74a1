"""A real Prometheus on a free loopback port, with the project's own rules."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from postgres_server import free_port
from service import REPOSITORY, clean_environment, wait_until

DEPLOY = REPOSITORY / "deploy" / "prometheus"
MISSING = "is not installed: scripts/apt prometheus, or declare SCORELINE_WITHOUT=prometheus"


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """One run of Prometheus's own tool, in the folder that is deployed."""
    found = shutil.which("promtool")
    assert found, f"promtool {MISSING}"
    command = [found, *map(str, arguments)]
    return subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=120)


class Prometheus:
    """A running server: what it is asked, it answers from what it has scraped each second."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of its answer; fails with what it says is wrong."""
        answer = httpx.get(self.url + "/api/v1" + path, params=parameters, timeout=30)
        found = answer.json()
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        found: list[dict[str, Any]] = self.get("/query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float:
        """The one value of a query; 0 where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0

    def is_up(self) -> bool:
        try:
            return httpx.get(self.url + "/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def scraping(folder: Path, target: str, *, key_file: Path | None = None) -> Iterator[Prometheus]:
    """Prometheus with the deployed settings, but for the target, and a second instead of fifteen."""
    found = shutil.which("prometheus")
    assert found, f"prometheus {MISSING}"
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(DEPLOY / pattern) for pattern in settings["rule_files"]]
    (job,) = settings["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    if key_file is not None:
        job["authorization"] = {"credentials_file": str(key_file)}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [found, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'series'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=clean_environment())
    try:
        server = Prometheus(port)
        wait_until(server.is_up, "Prometheus is ready")
        yield server
    finally:
        process.terminate()
        process.wait(30)
