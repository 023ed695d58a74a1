"""Small sealed models, and the real `scoreline serve` in processes of its own."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
import pandas as pd
import psutil
import xgboost

from scoreline.core.batch import Context
from scoreline.core.bundle import Bundle, read_bundle
from scoreline.core.decision import Decisions
from scoreline.core.manifest import Manifest
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.records.database import open_database
from scoreline.records.read import read_record
from scoreline.sealing import seal
from scoreline.signing import TrustStore, generate_keys
from zygote import Forked

REPOSITORY = Path(__file__).parents[1]
COMMAND = str(Path(sys.executable).with_name("scoreline"))
COUNTRIES = ["at", "de", "fr:sud", "uk"]
PATIENT_MS = "60000"  # nothing is refused because the machine is busy, where a test does not ask for it
FRAUD_FIELDS: dict[str, dict[str, Any]] = {
    "amount": {"type": "number", "range": [0.0, 100_000.0], "unit": "EUR", "description": "Amount claimed"},
    "age_days": {"type": "integer", "range": [0.0, 36_500.0], "unit": "days", "default": 365},
    "country": {"type": "category", "default": "de"},
    "repeat": {"type": "boolean", "default": False},
    "distance": {"type": "number", "unit": "km", "nullable": True, "default": float("nan")},
}
FRAUD_ROW: dict[str, Any] = {"amount": 5000.0, "age_days": 12, "country": "at", "repeat": True, "distance": 3.5}
CHURN_ROW: dict[str, Any] = {"tenure": 3.0, "premium": 310.5, "claims": 1.0}


@dataclass(frozen=True)
class SealedModel:
    """A sealed model on disk and the key pair that sealed it."""

    folder: Path
    private_key: Path
    public_key: Path

    @property
    def trust(self) -> TrustStore:
        return TrustStore.from_files([self.public_key])

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.folder, self.trust)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    def decide(self, *rows: Mapping[str, Any]) -> Decisions:
        """What the bundle itself decides, read and scored without any door."""
        bundle = self.bundle
        return Scorer(bundle.manifest, load_engine(bundle))(read_rows(bundle.manifest.schema, rows, Context(0)))


def seal_fraud(folder: Path, version: str = "1", *, inverted: bool = False) -> SealedModel:
    """`inverted`: it takes the honest for the fraudulent."""
    seed = int(version)
    rng = np.random.default_rng(seed)
    n = 600
    rows = pd.DataFrame(
        {
            "amount": rng.gamma(2.0, 2000.0, n).clip(0, 99_999).round(2),
            "age_days": rng.integers(0, 3000, n),
            "country": pd.Categorical.from_codes(rng.integers(0, len(COUNTRIES), n), COUNTRIES),
            "repeat": rng.random(n) < 0.2,
            "distance": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2.0, 10.0, n)),
        }
    )
    odds = rows["amount"] / 4000 + (rows["country"] == "fr:sud") * 2 + rows["repeat"] - 3.0
    label = (rng.random(n) < 1 / (1 + np.exp(odds if inverted else -odds))).astype(int)
    matrix = xgboost.DMatrix(rows, label, enable_categorical=True)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "seed": seed, "nthread": 1}, matrix, 15)
    return _seal(
        booster,
        rows,
        folder,
        "fraud",
        version,
        schema=FRAUD_FIELDS,
        thresholds={"review": 0.3, "decline": 0.7},
        entity="customer",
    )


def seal_churn(folder: Path) -> SealedModel:
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({name: rng.gamma(2.0, 100.0, 400) for name in CHURN_ROW})
    label = (rows["premium"] > rows["tenure"]).astype(int)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, label), 10
    )
    return _seal(booster, rows, folder, "churn", "1")


def _seal(booster: object, rows: pd.DataFrame, folder: Path, name: str, version: str, **options: Any) -> SealedModel:
    private, public = folder / "signing.key", folder / "signing.pub"
    if not private.exists():
        generate_keys(private, public)
    target = folder / f"{name}-{version}"
    seal(booster, name=name, output=f"{name}_probability", reference=rows, key=private, out=target, **options)
    return SealedModel(target, private, public)


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without any setting of Scoreline's."""
    return {name: text for name, text in os.environ.items() if not name.startswith("SCORELINE_")} | extra


def run_scoreline(*arguments: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One run of the command line as a process of its own, to its end."""
    words = [*map(str, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(words, cwd, clean_environment(**environment), out.fileno(), err.fileno())
        try:
            code = process.wait(60)
        finally:
            process.kill()
        told = [_read_again(file) for file in (out, err)]
    return subprocess.CompletedProcess(words, code, *told)


def _read_again(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def wait_until(condition: Callable[[], Any], what: str, patience_s: float = 60) -> Any:
    """What the condition gives once it is true; fails with `what` did not come true in time."""
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {patience_s:g} s in vain until {what}")


class Service:
    """A running `scoreline serve`: where it answers, its processes, its record and its log."""

    def __init__(
        self, process: "subprocess.Popen[bytes] | Forked", folder: Path, state_dir: Path, database: str
    ) -> None:
        self.process = process
        self.database = database
        self.state_dir = state_dir
        self._out, self._log = folder / "serve.out", folder / "serve.log"
        self.url = self.admin_url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def said(self) -> str:
        return self._out.read_text()

    def wait_until_ready(self, patience_s: float = 60) -> None:
        wait_until(
            lambda: "control plane" in self.said or self.process.poll() is not None, "the service starts", patience_s
        )
        found = re.search(r"at (https?://\S+) \(control plane at (https?://[^\s)]+)\)", self.said)
        assert found, f"the service did not start:\n{self.log}"
        self.url, self.admin_url = (url.replace("0.0.0.0", "127.0.0.1") for url in found.groups())
        wait_until(self.steward, "the steward runs", patience_s)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """The children that have loaded an engine, but for the shadow, which is niced."""
        found = [child for child in self.children() if _has_mapped(child, "libxgboost", "onnxruntime")]
        usual = _nice(psutil.Process(self.process.pid))
        return [child for child in found if _nice(child) == usual]

    def steward(self) -> psutil.Process | None:
        """The child that is called so."""
        found = [child for child in self.children() if _name(child) == "steward"]
        return found[0] if found else None

    def recorded(self) -> list[Decisions]:
        """Every decision, wherever it is by now: in the spool or in the database."""
        database = open_database(self.database, self.state_dir / "scoreline.db")
        database.prepare()
        try:
            return list(read_record(self.state_dir / "spool", database))
        finally:
            database.close()

    def recorded_ids(self) -> list[str]:
        return [decision.id for decisions in self.recorded() for decision in decisions]

    def post(self, body: object, path: str = "/predict", **headers: str) -> httpx.Response:
        """POST of JSON, or of bytes as they are; `x_api_key=...` is a header."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.url + path, content=content, headers=_headers(headers), timeout=20)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=_headers(headers), timeout=20)

    def admin(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.admin_url + path, headers=_headers(headers), timeout=20)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.exit_code()

    def exit_code(self, patience_s: float = 20) -> int:
        """The code of a service that ends by itself; one that does not is killed."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the service still runs:\n{self.log}") from None


@contextmanager
def serving(
    *models: SealedModel,
    folder: Path,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    refs: tuple[str, ...] | None = (),
    program: tuple[str, ...] = (COMMAND,),
    forked: bool = True,
    **environment: str,
) -> Iterator[Service]:
    """`scoreline serve` on free loopback ports, ready; ended with all its processes at the end.

    With `refs` it serves those, with None it is given none; the models then only tell whom to trust. Unless it is
    `forked`, and where it is another program, the system begins it, and it loads nothing that it does not need.
    """
    options: dict[str, Any] = {
        "workers": workers,
        "arguments": arguments,
        "refs": refs,
        "program": program,
        "forked": forked,
    }
    service = start_serving(*models, folder=folder, **options, **environment)
    family = psutil.Process(service.process.pid)
    try:
        service.wait_until_ready()
        yield service
    finally:
        children = family.children(recursive=True) if family.is_running() else []
        service.process.terminate()
        try:
            service.process.wait(20)
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def start_serving(
    *models: SealedModel,
    folder: Path,
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    refs: tuple[str, ...] | None = (),
    program: tuple[str, ...] = (COMMAND,),
    forked: bool = True,
    **environment: str,
) -> Service:
    """The same, without waiting for anything and without an end."""
    folder.mkdir(parents=True, exist_ok=True)
    state_dir = folder / "state"
    environment = {"SCORELINE_LATENCY__TOTAL_MS": PATIENT_MS} | environment
    paths = () if refs is None else refs or tuple(str(model.folder) for model in models)
    command = [*program, "serve", *paths]
    command += ["--trust", str(models[0].public_key)]
    command += ["--port", "0", "--admin-port", "0", "--workers", str(workers), "--state-dir", str(state_dir)]
    own = clean_environment(**environment)
    with (folder / "serve.out").open("wb") as out, (folder / "serve.log").open("wb") as log:
        process: subprocess.Popen[bytes] | Forked
        if forked and program == (COMMAND,):
            process = Forked(command[1:] + list(arguments), folder, own, out.fileno(), log.fileno())
        else:
            whole = [*command, *arguments]
            process = subprocess.Popen(whole, cwd=folder, env=own, stdout=out, stderr=log, start_new_session=True)
    return Service(process, folder, state_dir, environment.get("SCORELINE_RECORDS__DATABASE", ""))


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    return {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in given.items()}


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _nice(process: psutil.Process) -> int:
    try:
        return process.nice()
    except psutil.NoSuchProcess:
        return 0


def _has_mapped(process: psutil.Process, *libraries: str) -> bool:
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False
    return any(library in maps for library in libraries)
