"""A service in two parts, as in the two containers of a pod: workers here, their steward there, one state folder."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from scoreline.operations.credentials import Credentials, keep_credentials
from service import FRAUD_ROW, PATIENT_MS, SealedModel, clean_environment, run_scoreline, wait_until
from zygote import Forked

KEY = "0123456789abcdef-this-is-the-admin-key"
Start = Callable[..., "Part"]


class Part:
    """One process with its children, and what it said."""

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self._out, self._log = folder / f"{arguments[0]}.out", folder / f"{arguments[0]}.log"
        own = clean_environment(SCORELINE_LATENCY__TOTAL_MS=PATIENT_MS, SCORELINE_SERVER__WORKERS="2", **environment)
        with self._out.open("wb") as out, self._log.open("wb") as log:
            words = [*map(str, arguments), "--state-dir", str(folder / "state")]
            self.process = Forked(words, folder, own, out.fileno(), log.fileno())

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it answers, once it has said so."""
        found = wait_until(lambda: re.search(r"https?://[^\s)]+", self._out.read_text()), f"it says so: {self.log}")
        return found[0].replace("0.0.0.0", "127.0.0.1")

    def child(self, name: str) -> psutil.Process:
        return wait_until(lambda: next((one for one in self._children() if one.name() == name), None), f"{name} runs")

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def parts(model: SealedModel, folder: Path) -> Iterator[Start]:
    """Begins `serve --no-steward` and `steward` for a model, by their name; both are ended."""
    begun: list[Part] = []

    def start(name: str, **environment: str) -> Part:
        own = ["--no-steward", "--port", "0"] if name == "serve" else ["--admin-port", "0"]
        begun.append(Part(folder, name, model.folder, "--trust", model.public_key, *own, **environment))
        return begun[-1]

    try:
        yield start
    finally:
        for part in begun:
            children = part._children() if part.process.poll() is None else []
            part.process.kill()
            for child in children:
                child.kill() if child.is_running() else None


def drained(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return run_scoreline("drained", "--state-dir", folder / "state", *options, cwd=folder)


def told(steward: Part, name: str) -> float:
    """The sum of a metric's samples whose line begins so."""
    lines = httpx.get(f"{steward.url}/metrics", timeout=20).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_what_the_workers_do_the_steward_tells_and_ships_until_the_spool_is_empty(
    sealed: SealedModel, tmp_path: Path
) -> None:
    limit = {"SCORELINE_LIMITS__PER_CALLER": "60/day"}
    with parts(sealed, tmp_path) as start:
        steward = start("steward", **limit)
        wait_until(lambda: "waiting for `scoreline serve --no-steward`" in steward.log, "it waits")
        service = start("serve", **limit)
        statuses = [post(service, {**FRAUD_ROW, "amount": 100.0 * n if n % 5 else "abc"}) for n in range(70)]
        n_answered = statuses.count(200)
        assert (n_answered, statuses.count(422), statuses.count(429)) == (48, 12, 10)
        wait_until(lambda: told(steward, "scoreline_predictions_total") == n_answered, "all is counted")
        assert told(steward, 'scoreline_refusals_total{fault="caller",kind="rows-refused"') == 12
        assert told(steward, "scoreline_rate_limited_total") == 10
        service.child("worker-0").kill()
        wait_until(lambda: told(steward, 'scoreline_process_ends_total{process="worker"}') == 1, "its end is told")
        steward.child("shadow").kill()
        wait_until(lambda: told(steward, 'scoreline_process_ends_total{process="shadow"}') == 1, "here, too")
        assert drained(tmp_path).returncode == 3
        assert service.stop() == 0
        found = drained(tmp_path, "--wait-s", "30")
        assert (found.returncode, found.stderr) == (0, "")
        assert list((tmp_path / "state" / "spool").glob("*.seg")) == []
        assert told(steward, "scoreline_shipped_total") == n_answered
        assert steward.stop() == 0


def test_what_no_steward_ships_keeps_it_from_being_drained(sealed: SealedModel, tmp_path: Path) -> None:
    with parts(sealed, tmp_path) as start:
        service = start("serve")
        assert post(service, FRAUD_ROW) == 200
        found = drained(tmp_path)
        assert (found.returncode, found.stderr.split(":")[1]) == (3, f" the service runs in {tmp_path / 'state'}\n")
        assert service.stop() == 0
        found = drained(tmp_path, "--wait-s", "0.5")
        assert found.returncode == 3 and "1 files of the spool" in found.stderr
        start("steward")
        assert drained(tmp_path, "--wait-s", "30").returncode == 0


def test_the_workers_part_begins_anew_and_the_steward_goes_on(sealed: SealedModel, tmp_path: Path) -> None:
    with parts(sealed, tmp_path) as start:
        steward, service = start("steward"), start("serve")
        assert post(service, "abc") == 422
        assert steward.url
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(20)
        wait_until(lambda: "the service runs" not in drained(tmp_path).stderr, "its workers have ended, too")
        again = start("serve")
        assert post(again, FRAUD_ROW) == 200
        wait_until(lambda: told(steward, "scoreline_predictions_total") == 1, "it is counted")
        assert told(steward, 'scoreline_refusals_total{fault="caller"') == 0, "counts of workers begin with them"


def test_a_folder_has_one_service_and_one_steward(sealed: SealedModel, tmp_path: Path) -> None:
    with parts(sealed, tmp_path) as start:
        service, steward = start("serve"), start("steward")
        assert service.url and steward.url
        options = ("--trust", sealed.public_key, "--state-dir", tmp_path / "state", "--admin-port", "0")
        for words, said in (
            (("serve", "--port", "0"), "another service runs in"),
            (("steward",), "another steward runs in"),
        ):
            found = run_scoreline(words[0], sealed.folder, *words[1:], *options, cwd=tmp_path)
            assert found.returncode == 1 and said in found.stderr
        assert service.stop() == 0
        found = run_scoreline("serve", sealed.folder, "--port", "0", *options, cwd=tmp_path)
        assert found.returncode == 1 and "another steward runs in" in found.stderr


def test_a_steward_that_waits_ends_when_told(sealed: SealedModel, tmp_path: Path) -> None:
    with parts(sealed, tmp_path) as start:
        steward = start("steward")
        wait_until(lambda: "waiting for" in steward.log, "it waits")
        assert steward.stop() == 128 + signal.SIGTERM


@pytest.mark.parametrize("host", ("0.0.0.0", "::"))
def test_a_control_plane_that_others_reach_needs_credentials(sealed: SealedModel, tmp_path: Path, host: str) -> None:
    options = ("--trust", sealed.public_key, "--port", "0", "--admin-host", host, "--state-dir", tmp_path / "state")
    found = run_scoreline("serve", sealed.folder, *options, cwd=tmp_path)
    assert found.returncode == 1
    assert f"{host} is open to other machines and nobody needs a key" in found.stderr


def test_a_control_plane_that_others_reach_opens_with_a_key_alone(sealed: SealedModel, tmp_path: Path) -> None:
    own = {"SCORELINE_SERVER__ADMIN_HOST": "0.0.0.0", "SCORELINE_ACCESS__ADMIN_KEY": KEY}
    with parts(sealed, tmp_path) as start:
        service, steward = start("serve", **own), start("steward", **own)
        wait_until(lambda: "0.0.0.0 IS REACHED WITHOUT TLS" in steward.log, "it warns")
        assert httpx.get(f"{steward.url}/status", timeout=20).status_code == 401
        assert httpx.get(f"{steward.url}/status", headers={"x-api-key": KEY}, timeout=20).status_code == 200
        assert httpx.get(f"{steward.url}/healthz/ready", timeout=20).status_code == 200
        assert post(service, FRAUD_ROW) == 401, "the data plane on loopback is closed, too"


def test_credentials_that_are_there_already_are_not_written_again(tmp_path: Path) -> None:
    keep_credentials(tmp_path, Credentials(guarded=True))
    before = (tmp_path / "access.json").stat()
    keep_credentials(tmp_path, Credentials(guarded=True))
    assert (tmp_path / "access.json").stat() == before
    assert before.st_mode & 0o077 == 0
    keep_credentials(tmp_path, Credentials())
    assert (tmp_path / "access.json").stat().st_ino != before.st_ino


def post(service: Part, body: Any) -> int:
    return httpx.post(f"{service.url}/predict", json=body, timeout=20).status_code
