"""The path of a prediction is light: what answers has loaded nothing it does not need."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from scoreline.control.shadow import NICE
from service import FRAUD_ROW, SealedModel, serving, wait_until

HEAVY = {"mlflow", "pandas", "sklearn", "sqlalchemy", "pyarrow", "xgboost", "onnx", "model_signing", "scipy", "jwt"}
FOR_PAGES = {"fastapi", "pydantic", "starlette"}

# In every Python process it starts: SIGUSR1 writes the names of what is loaded to a file named after the process.
CUSTOMIZE = """
import os, signal, sys

def tell(*_):
    path = os.path.join(os.environ["MODULES_TO"], str(os.getpid()))
    with open(path + ".new", "w") as file:
        file.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
    os.replace(path + ".new", path)

signal.signal(signal.SIGUSR1, tell)
"""

IN_PROCESS = """
    import json, sys
    from scoreline.cli.serve import seed_state
    from pathlib import Path
    from scoreline.doors.http.worker import LatePages, Worker
    from scoreline.operations.credentials import Credentials, write_credentials
    from scoreline.settings import load_settings
    model, key, state_dir, row = sys.argv[1:]
    settings = load_settings(None, {}, {"trust.keys": [key], "state_dir": state_dir})
    seed_state([model], settings, "")
    write_credentials(Path(state_dir), Credentials())
    worker = Worker(settings)
    worker.load()
    pages = LatePages(worker.door)
    headers = {b"content-type": b"application/json"}
    status, _, body = worker.door.predict(worker.door.hot("/predict"), {"headers": list(headers.items())}, row.encode())
    print(json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_serving_and_one_prediction_load_nothing_heavy(sealed: SealedModel, tmp_path: Path) -> None:
    arguments = [str(sealed.folder), str(sealed.public_key), str(tmp_path / "state"), json.dumps(FRAUD_ROW)]
    program = [sys.executable, "-c", textwrap.dedent(IN_PROCESS), *arguments]
    found = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert found.returncode == 0, found.stderr
    status, modules = json.loads(found.stdout)
    assert status == 200
    assert HEAVY & set(modules) == set()
    assert FOR_PAGES & set(modules) == set(), "pages are for whoever asks for one"


def test_no_process_of_a_real_service_loads_anything_heavy(
    sealed: SealedModel, churn: SealedModel, tmp_path: Path
) -> None:
    """The worker (with both engines), the steward and the supervisor themselves say what they have loaded."""
    custom, told = tmp_path / "custom", tmp_path / "told"
    custom.mkdir()
    told.mkdir()
    (custom / "sitecustomize.py").write_text(CUSTOMIZE)
    path = os.pathsep.join(filter(None, (str(custom), os.environ.get("PYTHONPATH"))))
    environment = {"PYTHONPATH": path, "MODULES_TO": str(told)}
    with serving(
        sealed, churn, folder=tmp_path, forked=False, arguments=("--default", "fraud"), **environment
    ) as service:

        def loaded(process: int) -> set[str]:
            file = told / str(process)
            file.unlink(missing_ok=True)
            os.kill(process, signal.SIGUSR1)
            wait_until(file.exists, "the process says what it has loaded")
            return set(file.read_text().split())

        assert service.post(FRAUD_ROW).status_code == 200
        assert service.get("/healthz/ready").status_code == 200
        assert service.admin("/healthz/live").status_code == 200
        (worker,) = service.workers()
        steward = service.steward()
        assert steward is not None
        in_worker = loaded(worker.pid)
        assert {"scoreline", "onnxruntime", "msgspec"} <= in_worker
        assert (HEAVY | {"fastapi", "starlette"}) & in_worker == set()  # pydantic: typer parses options with it
        assert "fastapi" in loaded(steward.pid)
        assert HEAVY & loaded(steward.pid) == {"sqlalchemy"}, "it ships, and workers never do"
        assert HEAVY & loaded(service.process.pid) == set()
        (shadow,) = (child for child in service.children() if child.nice() == NICE)
        assert HEAVY & loaded(shadow.pid) == set(), "there is no challenger"

        assert service.get("/openapi.json").status_code == 200
        in_worker = loaded(worker.pid)
        assert "fastapi" in in_worker
        assert HEAVY & in_worker == set()
