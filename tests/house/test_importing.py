"""Importing does nothing, and the path of a prediction is light."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from scoreline.sealing import seal
from scoreline.signing import generate_keys

SOURCE = Path(__file__).parents[2] / "src" / "scoreline"
HEAVY = {"mlflow", "pandas", "sklearn", "sqlalchemy", "pyarrow", "xgboost", "onnx", "model_signing", "scipy"}

WATCH = """
    import logging, os, signal, sys, threading, warnings
    def seen():
        return (
            dict(os.environ), list(sys.argv), threading.active_count(), list(logging.root.handlers), logging.root.level,
            [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)], os.getcwd(),
        )
    import numpy, pyarrow.parquet, pyarrow.csv, xgboost, onnx, onnxruntime, model_signing, fastapi, uvicorn, typer
    before, filters = seen(), len(warnings.filters)
    import importlib
    for name in {names!r}:
        importlib.import_module(name)
    assert seen() == before, "importing changed the process"
    assert len(warnings.filters) == filters, "importing changed the warnings"
"""

SERVE = """
    import json, os, sys
    from pathlib import Path
    from scoreline.cli.serve import seed_state
    from scoreline.doors.http.worker import LatePages, Worker
    from scoreline.settings import load_settings
    folder = Path(sys.argv[1])
    flags = {"trust.keys": [str(folder / "signing.pub")], "state_dir": str(folder / "state")}
    settings = load_settings(None, {}, flags)
    seed_state([str(folder / "fraud-1")], settings, "")
    worker = Worker(settings)
    worker.load()
    pages = LatePages(worker.door)
    headers = {b"content-type": b"application/json"}
    status, _, body = worker.door.predict(worker.door.endpoint(), headers, b'{"a":1,"b":2}')
    print(json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def python(code: str, *arguments: object, **environment: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_importing_every_module_changes_nothing_and_says_nothing() -> None:
    paths = sorted(path.relative_to(SOURCE.parent) for path in SOURCE.rglob("*.py"))
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    assert python(WATCH.replace("{names!r}", repr(names))) == ""


def test_serving_and_one_prediction_load_nothing_heavy(tmp_path: Path) -> None:
    import numpy as np
    import pandas as pd
    import xgboost

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    model: Any = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, (rows["a"] > 0).astype(int))
    generate_keys(tmp_path / "signing.key", tmp_path / "signing.pub")
    seal(model, name="fraud", output="p", reference=rows, key=tmp_path / "signing.key", out=tmp_path / "fraud-1")
    status, modules = json.loads(python(SERVE, tmp_path))
    assert status == 200
    assert not HEAVY & set(modules)
    assert not {"fastapi", "pydantic"} & set(modules), "pages are for whoever asks for one"
