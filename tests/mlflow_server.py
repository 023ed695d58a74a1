"""A real MLflow: its tracking server over HTTP, or the sqlite file behind one, and versions of models in it.

A server takes longer to start than most tests to run: those of a process share one, which a proxy cuts off and mends.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import xgboost

from models import frame, targets
from postgres_server import free_port
from proxy import Proxy, proxy_to
from service import clean_environment, wait_until

NAME = "Churn"


@dataclass
class Mlflow:
    """An MLflow by its address, with a folder for what a test seals; `cut` where it is a server behind a proxy."""

    uri: str
    folder: Path
    artifacts: Path
    proxy: Proxy | None = None
    rows: pd.DataFrame = field(default_factory=frame)

    @property
    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def log_version(self, name: str = NAME, seed: int = 0) -> tuple[str, xgboost.Booster]:
        """Trains a model as a user would, logs it and registers it; the new version, and the model."""
        import mlflow
        import mlflow.xgboost

        label = targets("binary:logistic", self.rows, seed)
        matrix = xgboost.DMatrix(self.rows, label)
        booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, matrix, 8 + seed)
        with self.run():
            logged = mlflow.xgboost.log_model(
                booster, name="model", registered_model_name=name, pip_requirements=["xgboost"]
            )
        return str(logged.registered_model_version), booster

    @contextmanager
    def run(self) -> Iterator[None]:
        """A run to log in; without a server its artifacts lie in this folder."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        if self.proxy is None and mlflow.get_experiment_by_name("tests") is None:
            mlflow.create_experiment("tests", artifact_location=str(self.artifacts))
        mlflow.set_experiment("tests")
        with mlflow.start_run():
            yield

    def cut(self) -> None:
        """Nobody reaches the server any more."""
        assert self.proxy is not None
        self.proxy.cut()

    def anew(self, folder: Path) -> "Mlflow":
        """The same server, reached again and without any version, for a test with a folder of its own."""
        assert self.proxy is not None
        self.proxy.mend()
        for model in self.client.search_registered_models():
            self.client.delete_registered_model(model.name)
        return replace(self, folder=folder)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Mlflow]:
    """MLflow's tracking server on a free loopback port, behind a proxy."""
    port, artifacts = free_port(), folder / "artifacts"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(artifacts)]
    environment = clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")  # eight processes that nobody needs
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _answers(port), "MLflow's server answers", 120)
        with proxy_to(port) as proxy:
            yield Mlflow(f"http://127.0.0.1:{proxy.port}", folder, artifacts, proxy)
    finally:
        subprocess.run(["pkill", "-KILL", "-g", str(server.pid)], check=False)
        server.wait(20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def mlflow_file(folder: Path) -> Mlflow:
    """MLflow without a server, on a sqlite file."""
    return Mlflow(f"sqlite:///{folder / 'mlflow.db'}", folder, folder / "artifacts")
