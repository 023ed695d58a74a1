"""MLflow's registry, real: versions in it are sealed, registered, found by alias and stage, brought here, refused."""

import shlex
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlflow_server import NAME, Mlflow, mlflow_file
from models import keys
from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle, read_files
from scoreline.core.errors import BundleError, NotFound, RegistryDown, SealRefused, SettingError
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.operations.install import install
from scoreline.operations.register import seal_version
from scoreline.registries.mlflow import TAG, MlflowRegistry
from scoreline.signing import TrustStore
from service import run_scoreline


@pytest.fixture(scope="module", params=["sqlite", "server"])
def mlflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mlflow:
    """A sqlite file, and a tracking server over HTTP. Version 1 of Churn is there, sealed and registered."""
    folder = tmp_path_factory.mktemp("mlflow")
    is_file = request.param == "sqlite"
    found: Mlflow = mlflow_file(folder) if is_file else request.getfixturevalue("mlflow_shared").anew(folder)
    found.log_version()
    seal_it(found, f"models:/{NAME}/1")
    return found


def seal_it(mlflow: Mlflow, ref: str, **settings: Any) -> Path:
    key, _ = keys(mlflow.folder)
    options = {"output": "p", "reference": mlflow.rows, "key": key, "out": None, "register": True} | settings
    registry = MlflowRegistry(mlflow.uri)
    return seal_version(ref, registry, folder=mlflow.folder / "bundles", **options).path


def trust_of(mlflow: Mlflow) -> TrustStore:
    return TrustStore.from_files([keys(mlflow.folder)[1]])


def bring(mlflow: Mlflow, ref: str, state_dir: Path) -> Path:
    return install(ref, {"models": MlflowRegistry(mlflow.uri)}, trust_of(mlflow), state_dir).path


def test_version_is_sealed_from_the_registry_and_attached_to_itself(mlflow: Mlflow, tmp_path: Path) -> None:
    import mlflow.xgboost as flavor

    version, booster = mlflow.log_version(seed=1)
    mlflow.rows.to_parquet(tmp_path / "rows.parquet")
    key, public = keys(mlflow.folder)
    ref = f"models:/{NAME}/{version}"
    command = ["seal", ref, "--output", "p", "--reference", "rows.parquet", "--key", key, "--register"]
    sealed = run_scoreline(*command, cwd=tmp_path, MLFLOW_TRACKING_URI=mlflow.uri)
    assert sealed.returncode == 0, sealed.stderr
    assert f"attached to {ref}" in sealed.stdout
    bundle = read_bundle(tmp_path / "bundles" / f"{NAME}-{version}", trust_of(mlflow))
    manifest = bundle.manifest
    assert (manifest.name, manifest.version) == (NAME, version)
    assert manifest.lineage["registry"] == ref
    assert mlflow.client.get_model_version(NAME, version).tags[TAG] == manifest.digest

    pulled = run_scoreline("pull", ref, "--trust", public, cwd=tmp_path, MLFLOW_TRACKING_URI=mlflow.uri)
    assert pulled.stdout == f".scoreline/bundles/{manifest.digest}  {NAME} {version}\n"
    brought = tmp_path / ".scoreline" / "bundles" / manifest.digest
    assert read_files(brought) == read_files(tmp_path / "bundles" / f"{NAME}-{version}")

    rows = [
        {name: None if value != value else value for name, value in row.items()}
        for row in mlflow.rows.head(50).to_dict("records")
    ]
    decisions = Scorer(manifest, load_engine(bundle))(read_rows(manifest.schema, rows, Context(0)))
    margins = booster.inplace_predict(mlflow.rows.head(50), predict_type="margin")
    assert decisions.margins[:, 0].astype(np.float32).tobytes() == margins.tobytes()
    import xgboost

    again = flavor.load_model(ref).predict(xgboost.DMatrix(mlflow.rows.head(50)), output_margin=True)
    assert again.tobytes() == margins.tobytes(), "users of the version in MLflow notice nothing"


def test_aliases_and_stages_name_versions(mlflow: Mlflow) -> None:
    registry, client = MlflowRegistry(mlflow.uri), mlflow.client
    version, _ = mlflow.log_version(seed=2)
    seal_it(mlflow, f"models:/{NAME}/{version}")
    one, two = registry.resolve(f"models:/{NAME}/1"), registry.resolve(f"models:/{NAME}/{version}")
    assert one.digest != two.digest
    client.set_registered_model_alias(NAME, "champion", "1")
    assert registry.resolve(f"models:/{NAME}@champion") == one
    client.set_registered_model_alias(NAME, "champion", version)
    assert registry.resolve(f"models:/{NAME}@champion") == two

    client.set_registered_model_alias(NAME, "Production", "1")
    assert registry.resolve(f"models:/{NAME}/Production") == one, "no version is in the stage: the alias counts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage(NAME, version, "Production")
    assert registry.resolve(f"models:/{NAME}/Production") == two, "the server has stages: the stage counts"
    client.set_registered_model_alias(NAME, "blue", "1")
    assert registry.resolve(f"models:/{NAME}/blue") == one, "no stage of that name: the alias counts"


def test_unsealed_version_is_refused_with_the_command_that_seals_it(mlflow: Mlflow, tmp_path: Path) -> None:
    version, _ = mlflow.log_version(seed=3)
    mlflow.client.set_registered_model_alias(NAME, "fresh", version)
    public = keys(mlflow.folder)[1]
    served = run_scoreline(
        *("serve", f"models:/{NAME}@fresh", "--trust", public, "--port", "0", "--admin-port", "0"),
        cwd=tmp_path,
        MLFLOW_TRACKING_URI=mlflow.uri,
    )
    assert served.returncode == 1
    told = f"models:/{NAME}@fresh is models:/{NAME}/{version}, which is not sealed: run `scoreline seal"
    assert told in served.stderr
    command = shlex.split(served.stderr.partition("`")[2].partition("`")[0])
    meant = {"SCORE_NAME": "p", "ROWS.parquet": "rows.parquet", "signing.key": str(keys(mlflow.folder)[0])}
    mlflow.rows.to_parquet(tmp_path / "rows.parquet")
    words = [meant.get(word, word) for word in command[1:]]
    sealed = run_scoreline(*words, cwd=tmp_path, MLFLOW_TRACKING_URI=mlflow.uri)
    assert sealed.returncode == 0, sealed.stderr
    assert bring(mlflow, f"models:/{NAME}@fresh", tmp_path / "state").is_dir()


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        (f"models:/{NAME}/99", "has no such version"),
        (f"models:/{NAME}@nobody", "has no such version"),
        ("models:/Nobody/1", "has no such version"),
        (f"models:/{NAME}/Staging", "has no such version"),
        (f"models:/{NAME}", "name a version, an alias or a stage"),
    ],
)
def test_what_is_not_there_is_not_found(mlflow: Mlflow, ref: str, problem: str) -> None:
    with pytest.raises(NotFound, match=problem):
        MlflowRegistry(mlflow.uri).resolve(ref)


def test_name_and_version_are_the_registrys(mlflow: Mlflow) -> None:
    with pytest.raises(SettingError, match="leave --name and --version out"):
        seal_it(mlflow, f"models:/{NAME}/1", name="fraud")
    with pytest.raises(SettingError, match="leave --name and --version out"):
        seal_it(mlflow, f"models:/{NAME}/1", version="2")


def test_tag_that_names_another_models_bundle_is_refused(mlflow: Mlflow, tmp_path: Path) -> None:
    """A valid bundle, trusted and whole, but of another version than the registry says."""
    version, _ = mlflow.log_version(seed=4)
    digest = MlflowRegistry(mlflow.uri).resolve(f"models:/{NAME}/1").digest
    bundle = bring(mlflow, f"models:/{NAME}/1", tmp_path / "one")
    MlflowRegistry(mlflow.uri).attach(NAME, version, digest, bundle)
    for state_dir in (tmp_path / "one", tmp_path / "two"):  # with a copy of it here, and without
        with pytest.raises(BundleError, match=f"has Churn {version} with digest .* says it is Churn 1"):
            bring(mlflow, f"models:/{NAME}/{version}", state_dir)
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("tag", ["", "x", "../../../etc/passwd", "0" * 63])
def test_tag_that_is_no_digest_is_no_seal(mlflow: Mlflow, tag: str) -> None:
    version, _ = mlflow.log_version("Tagged")
    mlflow.client.set_model_version_tag("Tagged", version, TAG, tag)
    with pytest.raises(NotFound, match="is not sealed"):
        MlflowRegistry(mlflow.uri).resolve(f"models:/Tagged/{version}")


def test_artifact_that_was_changed_in_the_registry_is_refused(mlflow: Mlflow, tmp_path: Path) -> None:
    version, _ = mlflow.log_version(seed=5)
    seal_it(mlflow, f"models:/{NAME}/{version}")
    digest = MlflowRegistry(mlflow.uri).resolve(f"models:/{NAME}/{version}").digest
    stored = next(mlflow.artifacts.rglob(digest))
    (stored / "profile.json").write_text("{}")
    with pytest.raises(BundleError, match=r"other bytes than these: profile\.json"):
        bring(mlflow, f"models:/{NAME}/{version}", tmp_path)
    (stored / "model.sig").unlink()
    with pytest.raises(BundleError, match=r"has no model\.sig"):
        bring(mlflow, f"models:/{NAME}/{version}", tmp_path)


def test_model_of_a_flavor_that_cannot_be_sealed_says_so(mlflow: Mlflow) -> None:
    import mlflow.pyfunc as pyfunc

    class Own(pyfunc.PythonModel):
        def predict(self, context, model_input):  # type: ignore[no-untyped-def]
            return model_input

    with mlflow.run():
        pyfunc.log_model(name="model", python_model=Own(), registered_model_name="Own", pip_requirements=["numpy"])
    with pytest.raises(SealRefused, match="models:/Own/1: the MLflow model has the flavors python_function; those"):
        seal_it(mlflow, "models:/Own/1")


def test_registry_that_is_down_says_so_and_the_last_verified_copy_goes_on(
    mlflow_shared: Mlflow, tmp_path: Path
) -> None:
    mlflow = mlflow_shared.anew(tmp_path)
    mlflow.log_version()
    seal_it(mlflow, f"models:/{NAME}/1")
    mlflow.client.set_registered_model_alias(NAME, "champion", "1")
    brought = bring(mlflow, f"models:/{NAME}@champion", tmp_path / "state")
    mlflow.cut()
    with pytest.raises(RegistryDown, match=f"the registry cannot be asked for models:/{NAME}/1"):
        bring(mlflow, f"models:/{NAME}/1", tmp_path / "state")
    assert bring(mlflow, f"models:/{NAME}@champion", tmp_path / "state") == brought
    (brought / "profile.json").write_text("{}")
    with pytest.raises(RegistryDown):
        bring(mlflow, f"models:/{NAME}@champion", tmp_path / "state")


def answering(status: int) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"no")

        def log_message(self, *_: object) -> None: ...

    return Answers


@pytest.mark.parametrize("status", (401, 403, 503))
def test_the_status_that_a_registry_answers_is_told_and_its_client_says_nothing(
    status: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with HTTPServer(("127.0.0.1", 0), answering(status)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry = MlflowRegistry(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(RegistryDown, match=rf"cannot be asked for models:/Churn/1 \(HTTP {status}\)"):
            registry.resolve("models:/Churn/1")
        server.shutdown()
    assert [record for record in caplog.records if record.name.startswith("urllib3")] == []
