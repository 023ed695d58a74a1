"""`serve` by an alias in a real MLflow: it follows the alias, and needs the registry for nothing else."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inservice import database_of
from load import failures_of, load
from mlflow_server import NAME, Mlflow
from models import keys, misdirect, sealed_bundle
from scoreline.operations.register import seal_version
from scoreline.operations.rollouts import By, current, promote, stage_of
from scoreline.records.ledger import heads, history
from scoreline.registries.mlflow import MlflowRegistry
from scoreline.rollout.stages import Stage
from service import SealedModel, run_scoreline, serving, wait_until

REF = f"models:/{NAME}@champion"
SERVE = {"SCORELINE_ROLLOUT__ALIAS_MOVED": "serve"}
ROW = {"a": 1.5, "b": 0.25, "c": 7.0}


@pytest.fixture
def mlflow(mlflow_shared: Mlflow, tmp_path: Path) -> Mlflow:
    return mlflow_shared.anew(tmp_path)


def seal_next(mlflow: Mlflow, seed: int) -> SealedModel:
    """The next version, sealed and registered."""
    version, _ = mlflow.log_version(seed=seed)
    private, public = keys(mlflow.folder)
    options: dict[str, Any] = {"output": "p", "reference": mlflow.rows, "key": private, "out": None, "register": True}
    registry, folder = MlflowRegistry(mlflow.uri), mlflow.folder / "bundles"
    sealed = seal_version(f"models:/{NAME}/{version}", registry, folder=folder, **options)
    return SealedModel(sealed.path, private, public)


def test_alias_is_followed_and_the_registry_may_go(mlflow: Mlflow, tmp_path: Path) -> None:
    one, two = seal_next(mlflow, 0), seal_next(mlflow, 1)
    champion = mlflow.client.set_registered_model_alias
    champion(NAME, "champion", "1")
    how: dict[str, Any] = {"folder": tmp_path / "service", "refs": (REF,), "SCORELINE_REGISTRY__MLFLOW_URI": mlflow.uri}
    how |= SERVE
    with serving(one, workers=2, forked=False, **how) as service:
        with load(service.port, keep_alive=4, reconnecting=1, row=ROW) as clients:
            wait_until(lambda: all(client.answers for client in clients), "every client is answered")
            champion(NAME, "champion", "2")
            wait_until(
                lambda: {client.answers[-1]["version"] for client in clients} == {"2"}, "all answers are of version 2"
            )
            unsealed, _ = mlflow.log_version(seed=2)
            champion(NAME, "champion", unsealed)
            wait_until(lambda: "which is not sealed: run `scoreline seal" in service.log, "the steward says so")
            mlflow.cut()
            wait_until(lambda: "the registry cannot be asked" in service.log, "the steward says that, too", 60)
            before = [len(client.answers) for client in clients]
            wait_until(
                lambda: all(len(client.answers) > n for client, n in zip(clients, before, strict=True)),
                "answers go on without the registry",
            )
        assert failures_of(clients) == []
        scores = {model.manifest.version: model.decide(ROW)[0].scores[0] for model in (one, two)}
        answers = [answer for client in clients for answer in client.answers]
        assert {(answer["version"], answer["p"]) for answer in answers} == set(scores.items())
        for worker in service.workers():
            maps = Path(f"/proc/{worker.pid}/maps").read_text()
            assert "libxgboost" in maps
            assert not [word for word in ("sqlalchemy", "google/_upb", "pandas") if word in maps], "no MLflow here"
        assert service.stop() == 0

    with serving(one, **how) as service:  # the registry is still down
        assert "going on with models:/Churn@champion as it was last named: 2" in service.log
        answer = service.post(ROW).json()
        assert (answer["version"], answer["p"]) == ("2", scores["2"])
        assert service.stop() == 0


def test_an_alias_that_someone_moved_only_asks_for_a_shadow_and_then_names_the_champion(
    mlflow: Mlflow, tmp_path: Path
) -> None:
    one, two = seal_next(mlflow, 0), seal_next(mlflow, 1)
    mlflow.client.set_registered_model_alias(NAME, "champion", "1")

    def alias() -> Any:
        return mlflow.client.get_model_version_by_alias(NAME, "champion")

    how: dict[str, Any] = {"refs": (REF,), "SCORELINE_REGISTRY__MLFLOW_URI": mlflow.uri}
    with serving(one, folder=tmp_path / "service", **how) as service, closing(database_of(service)) as database:

        def stage() -> Stage:
            return stage_of(current(database, NAME))

        wait_until(lambda: heads(database), "the first champion is in the ledger")
        mlflow.client.set_registered_model_alias(NAME, "champion", "2")
        wait_until(lambda: [each.arm.version for each in stage().challengers] == ["2"], "it is in shadow")
        wait_until(lambda: alias().version == "1", "the alias names who answers")
        assert service.post(ROW).json()["version"] == "1"
        promote(database, NAME, By("ada", "seen enough"), two.manifest.digest)
        wait_until(lambda: service.post(ROW).json()["version"] == "2", "it answers")
        wait_until(lambda: alias().version == "2", "the alias follows the ledger")
        assert alias().tags["scoreline.alias.champion"].startswith("the ledger's entry ")
        actions = [(entry.action, entry.who) for entry in reversed(history(database, NAME, 99))]
        assert actions == [("seed", "serve"), ("shadow", "registry"), ("promote", "ada")], "its own writes ask nothing"
        assert service.stop() == 0


def test_service_that_never_saw_its_version_says_that_the_registry_is_down(mlflow: Mlflow, tmp_path: Path) -> None:
    one = seal_next(mlflow, 0)
    mlflow.cut()
    arguments = ["serve", f"models:/{NAME}/1", "--trust", str(one.public_key), "--port", "0", "--admin-port", "0"]
    ended = run_scoreline(*arguments, cwd=tmp_path, MLFLOW_TRACKING_URI=mlflow.uri)
    assert ended.returncode == 1
    assert "error: the registry cannot be asked for models:/Churn/1" in ended.stderr


def test_a_signed_version_that_ends_the_process_reading_it_is_not_taken(tmp_path: Path) -> None:
    """Its signature is good, its model file is not: the process that tries it out dies, and no worker does."""
    good, bad = sealed_bundle(tmp_path), sealed_bundle(tmp_path, version="2")
    misdirect(bad)
    (tmp_path / "m@champion").write_text("1")
    model = SealedModel(good, *keys(tmp_path))
    how: dict[str, Any] = {"refs": ("folder:/m@champion",), "SCORELINE_REGISTRY__FOLDER": str(tmp_path)} | SERVE
    with serving(model, folder=tmp_path / "service", workers=2, **how) as service:
        workers = [worker.pid for worker in service.workers()]
        (tmp_path / "m@champion").write_text("2")
        wait_until(lambda: "points beyond what it holds" in service.log, "the trial ends")
        assert service.post(ROW).json()["version"] == "1"
        assert [worker.pid for worker in service.workers()] == workers
        assert service.stop() == 0
