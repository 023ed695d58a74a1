"""How long after an alias was changed in MLflow the new version answers: a real tracking server, the whole `serve`."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import mlflow
import mlflow.xgboost
import numpy as np
import pandas as pd
import xgboost
from measuring import figure
from services import free_port

from scoreline.operations.register import seal_version
from scoreline.registries.mlflow import MlflowRegistry
from scoreline.signing import generate_keys

CHANGES: Final = 15
NAME: Final = "churn"
COLUMNS: Final = [f"f{number}" for number in range(20)]
ROW: Final = dict.fromkeys(COLUMNS, 0.5)


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="scoreline-bench-") as name:
        folder = Path(name)
        with tracking_server(folder) as uri:
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            generate_keys(folder / "signing.key", folder / "signing.pub")
            for seed in range(2):
                log_and_seal(uri, folder, seed)
            times_s = list(alias_changes(uri, folder))
    name = "MLflow alias change to the new version answering, s (the slowest of all)"
    return [figure(name, max(times_s), "<= 5", times_s) | {"median": median(times_s)}]


def log_and_seal(uri: str, folder: Path, seed: int) -> None:
    """100 trees of depth 6 on 20 floats, logged, registered and sealed."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(20_000, 20)), columns=COLUMNS)
    matrix = xgboost.DMatrix(rows, (rows["f0"] + rng.normal(size=len(rows)) > 0).astype(int))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, matrix, 100)
    with mlflow.start_run():
        logged = mlflow.xgboost.log_model(
            booster, name="model", registered_model_name=NAME, pip_requirements=["xgboost"]
        )
    settings: dict[str, Any] = {"output": "p", "reference": rows, "key": folder / "signing.key", "register": True}
    ref = f"models:/{NAME}/{logged.registered_model_version}"
    seal_version(ref, MlflowRegistry(uri), folder=folder / "bundles", out=None, **settings)


def alias_changes(uri: str, folder: Path) -> Iterator[float]:
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(NAME, "champion", "1")
    port = free_port()
    command = [Path(sys.executable).with_name("scoreline"), "serve", f"models:/{NAME}@champion", "--port", port]
    command += ["--trust", folder / "signing.pub", "--admin-port", free_port(), "--state-dir", folder / "state"]
    environment = os.environ | {"SCORELINE_REGISTRY__MLFLOW_URI": uri, "SCORELINE_ROLLOUT__ALIAS_MOVED": "serve"}
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: version_at(port) == "1")
        for number in range(CHANGES):
            version = str(2 - number % 2)
            start_s = time.perf_counter()
            client.set_registered_model_alias(NAME, "champion", version)
            until(lambda version=version: version_at(port) == version)
            yield time.perf_counter() - start_s
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: answer(port, "GET", "/health") is not None)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait(30)


def version_at(port: int) -> str | None:
    found = answer(port, "POST", "/predict", json.dumps(ROW))
    return json.loads(found)["version"] if found else None


def answer(port: int, method: str, path: str, body: str | None = None) -> bytes | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    except OSError:
        return None
    finally:
        connection.close()
    return content if response.status == 200 else None


def until(condition: Callable[[], bool], patience_s: float = 120.0) -> None:
    deadline_s = time.perf_counter() + patience_s
    while not condition():
        if time.perf_counter() > deadline_s:
            raise SystemExit("it did not come true in time")
        time.sleep(0.01)
