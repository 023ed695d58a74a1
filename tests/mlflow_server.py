"""A real MLflow: its tracking server over HTTP, or the sqlite file behind one, and versions of models in it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import xgboost

from models import frame, targets
from service import clean_environment, wait_until

NAME = "Churn"


@dataclass
class Mlflow:
    """An MLflow by its address; `kill` and `start` where it is a server of its own."""

    uri: str
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
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
        if self.process is None and mlflow.get_experiment_by_name("tests") is None:
            mlflow.create_experiment("tests", artifact_location=str(self.folder / "artifacts"))
        mlflow.set_experiment("tests")
        with mlflow.start_run():
            yield

    def start(self) -> None:
        """Starts the server again on its port, with the same store."""
        port = self.uri.rpartition(":")[2]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=clean_environment(), stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._is_up, "MLflow's server answers", 90)

    def kill(self) -> None:
        """Ends the server with all its processes."""
        if self.process is not None:
            subprocess.run(["pkill", "-KILL", "-g", str(self.process.pid)], check=False)
            self.process.wait(20)
            self.process = None

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Mlflow]:
    """MLflow's tracking server on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Mlflow(f"http://127.0.0.1:{port}", folder)
    found.start()
    try:
        yield found
    finally:
        found.kill()


def mlflow_file(folder: Path) -> Mlflow:
    """MLflow without a server, on a sqlite file."""
    return Mlflow(f"sqlite:///{folder / 'mlflow.db'}", folder)
