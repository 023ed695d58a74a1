"""The image, on a real engine: what is in it, how it is served from, and that a drain fails nobody."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

import scoreline
from docker_engine import Container, Engine, container
from load import failures_of, ids_of, load
from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.signing import TrustStore
from service import FRAUD_ROW, REPOSITORY, SealedModel, wait_until

pytestmark = pytest.mark.engine
TAG = f"scoreline/scoreline:{scoreline.__version__}"
MOST_BYTES = 200_000_000
EXAMPLE = REPOSITORY / "examples" / "fraud"
# As a pod under the restricted standard has it; what the service keeps is a volume.
RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")
TRUSTED = {"SCORELINE_TRUST__KEYS": "/trust.pub"}
OPEN = {"SCORELINE_ACCESS__ANONYMOUS": "predict"}
PATIENT = {"SCORELINE_LATENCY__TOTAL_MS": "60000"}


@pytest.fixture(scope="module")
def image(docker: Engine) -> str:
    return docker.build(TAG)


def ask(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", body, headers), timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def is_ready(found: Container, inside: int = 8000, path: str = "/healthz/ready") -> bool:
    state = found.state
    assert state["Running"], found.log
    try:
        return ask(found.port(inside), path)[0] == 200
    except OSError:
        return False


def mounted(bundle: SealedModel) -> tuple[str, ...]:
    return ("--volume", f"{bundle.folder}:/bundle:ro", "--volume", f"{bundle.public_key}:/trust.pub:ro")


def laid_out(bundle: SealedModel, target: Path) -> None:
    """A copy that whoever a container runs as may read."""
    shutil.copytree(bundle.folder, target)
    target.parent.chmod(0o755)


def own_score(folder: Path, key: Path, row: Mapping[str, Any]) -> float:
    bundle = read_bundle(folder, TrustStore.from_files([key]))
    scorer = Scorer(bundle.manifest, load_engine(bundle))
    score: float = scorer(read_rows(bundle.manifest.schema, [dict(row)], Context(0))).scores.item()
    return score


def test_it_is_small_belongs_to_nobody_and_says_what_it_is(docker: Engine, image: str) -> None:
    found = docker.inspect(image)
    layers = docker.inspect(docker.base)["Size"] if docker.base else 0
    if docker.base:  # of another base it is not known here
        assert found["Size"] - layers <= MOST_BYTES
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.version"] == scoreline.__version__
    assert config["Healthcheck"]["Test"] == ["CMD", "healthy"]
    words = "import importlib.util as u; print([n for n in ('scipy', 'pyarrow', 'pandas', 'pip') if u.find_spec(n)])"
    assert docker("run", "--rm", "--entrypoint", "python3", image, "-c", words) == "[]"
    assert "serve" in docker("run", "--rm", image, "--help")


def test_the_worked_example_to_the_letter(docker: Engine, image: str) -> None:
    docker("build", "-t", "fraud-scorer:v1", ".", cwd=EXAMPLE)
    row = {"amount": 5000}
    with container(docker, "fraud-scorer:v1", publish=80) as found:
        wait_until(lambda: is_ready(found, 80), "the container is ready")
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl sends it
        status, answer = ask(found.port(80), "/predict", json.dumps(row).encode(), **form)
        assert status == 200
        assert answer["fraud_probability"] == own_score(
            EXAMPLE / "bundles" / "fraud-1", EXAMPLE / "trust" / "1.pub", row
        )
        assert ask(found.port(80), "/models")[0] == 401, "every other scope is closed"
        wait_until(lambda: found.state["Health"]["Status"] == "healthy", "Docker says that it is healthy")
        assert found.stop() == 0


def test_a_mounted_bundle_in_a_restricted_container_that_drains_refuses_nothing(
    docker: Engine, image: str, sealed: SealedModel
) -> None:
    """Docker's proxy takes connections after the service has ended, and has nobody to hand them to: these are lost."""
    given = OPEN | TRUSTED | PATIENT | {"SCORELINE_SERVER__DRAIN_DELAY_MS": "1000"}
    with container(
        docker, image, "serve", "/bundle", options=(*RESTRICTED, *mounted(sealed)), environment=given
    ) as found:
        wait_until(lambda: is_ready(found), "the container is ready")
        with load(found.port(8000), keep_alive=6, reconnecting=2) as clients:
            wait_until(lambda: sum(len(client.answers) for client in clients) > 300, "answers come")
            assert found.stop() == 0
        failures = [what for _, what in failures_of(clients)]
        n_answers = len(ids_of(clients))
        assert [what for what in failures if what[0].isdigit()] == [], found.log
        assert n_answers > 300


def test_it_is_never_ready_without_credentials_or_a_choice(docker: Engine, image: str, sealed: SealedModel) -> None:
    """It listens on all addresses of its own, so nobody is let in by default."""
    with container(docker, image, "serve", "/bundle", options=mounted(sealed), environment=TRUSTED) as found:
        wait_until(lambda: not found.state["Running"], "it ends")
        assert (found.state["ExitCode"], "access" in found.log) == (1, True)


def test_as_sagemaker_starts_it(docker: Engine, image: str, sealed: SealedModel, tmp_path: Path) -> None:
    laid_out(sealed, tmp_path / "model" / "fraud")
    options = ("--volume", f"{tmp_path}/model:/opt/ml/model:ro", *mounted(sealed))
    given = OPEN | TRUSTED | PATIENT
    with container(docker, image, "serve", publish=8080, options=options, environment=given) as found:
        wait_until(lambda: is_ready(found, 8080, "/ping"), "it answers /ping")
        body = json.dumps({"instances": [FRAUD_ROW]}).encode()
        status, answer = ask(found.port(8080), "/invocations", body, **{"Content-Type": "application/json"})
        assert (status, len(answer["predictions"])) == (200, 1)


@pytest.mark.parametrize("ref", ("/bundle", "folder:/fraud/1"))
def test_a_bundle_is_baked_or_pulled_at_start(
    docker: Engine, image: str, sealed: SealedModel, tmp_path: Path, ref: str
) -> None:
    wanted = own_score(sealed.folder, sealed.public_key, FRAUD_ROW)
    if ref == "/bundle":
        made = docker.run(
            [REPOSITORY / ".venv/bin/scoreline", "image", "build", sealed.folder, "--trust", sealed.public_key,
             "-t", "fraud-baked:1", "--base", image, "--set", "access.anonymous=predict"],
            cwd=tmp_path,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        name, command, options, given = "fraud-baked:1", (), (), PATIENT
    else:
        laid_out(sealed, tmp_path / "registry" / "fraud-1")
        registry = ("--volume", f"{tmp_path}/registry:/registry:ro")
        name, command, options = image, ("serve", ref), (*registry, *mounted(sealed))
        given = OPEN | TRUSTED | PATIENT | {"SCORELINE_REGISTRY__FOLDER": "/registry"}
    with container(docker, name, *command, options=options, environment=given) as found:
        wait_until(lambda: is_ready(found), "the container is ready")
        body = json.dumps(FRAUD_ROW).encode()
        status, answer = ask(found.port(8000), "/predict", body, **{"Content-Type": "application/json"})
        assert (status, answer["fraud_probability"]) == (200, wanted)
