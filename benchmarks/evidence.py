"""100,000 decisions of every sample model, computed again after a restart by another process. `make evidence` calls it.

One real `scoreline serve` has all the sample models of the tests; rows go in over HTTP, alone and by the hundred, words
and missing values among them. The service ends, is started again on the same state folder, and `scoreline replay --all`
computes every decision of its database again from the bundles there. EVIDENCE_DECISIONS shortens.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # its `models` are those meant here
import numpy as np
import pandas as pd
from report import figure, write

from sample_models import SAMPLES, schema_of
from scoreline.sealing import seal
from scoreline.signing import generate_keys
from service import COMMAND, SealedModel, Service, clean_environment, start_serving

DECISIONS: Final = int(os.environ.get("EVIDENCE_DECISIONS", "100000"))
ALONE: Final = 0.2  # of the decisions are requests of one row
MANY: Final = 100
START_S: Final = 300


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="scoreline-evidence-") as name:
        figures = list(evidence(Path(name)))
    written = write(figures, ["evidence"], f"make evidence (EVIDENCE_DECISIONS={DECISIONS})")
    for found in figures:
        print(f"{found['figure']:<70} {found['measured']:>12.0f}   {found['target']}")
    print(f"written to {written}")
    return 0 if all(found["held"] for found in figures) else 1


def evidence(folder: Path) -> Iterator[dict[str, Any]]:
    sealed, rows = seal_all(folder)
    service = served(sealed, folder)
    answered = decide_all(service.port, rows)
    assert service.stop() == 0
    service = served(sealed, folder)  # the restart
    verdicts, elapsed_s = replayed(folder / "state")
    assert service.stop() == 0
    results = Counter(verdict["result"] for verdict in verdicts)
    equal = {verdict["id"] for verdict in verdicts if verdict["result"] == "equal"}
    digests = {verdict["digest"] for verdict in verdicts}
    for title, value, target, kept in (
        ("sample models", len(digests), f"{len(rows)}", len(digests) == len(rows)),
        ("decisions answered", len(answered), f">= {DECISIONS}", len(answered) >= DECISIONS),
        ("decisions replayed in another process after a restart", len(verdicts), "all", len(verdicts) == len(answered)),
        ("% of answered decisions with equal margins", 100 * len(answered & equal) / len(answered), "100", True),
        ("decisions whose margins differ, or are not replayed", len(answered - equal), "0", answered == equal),
    ):
        yield figure(title, value, target, [value]) | {"held": kept, "results": dict(results)}
    rate = len(verdicts) / elapsed_s * 60
    yield figure("decisions a minute, all models together", rate, "(measured)", [rate]) | {"held": True}


def seal_all(folder: Path) -> tuple[list[SealedModel], dict[str, list[dict[str, Any]]]]:
    """Every sample model as a bundle, and by its name as many rows for it as make its share."""
    private, public = folder / "signing.key", folder / "signing.pub"
    generate_keys(private, public)
    makers = [make for kind in SAMPLES.values() for make in kind.values()]
    sealed, rows = [], {}
    for at, make in enumerate(makers):
        model, reference = make()
        name, target = f"m{at}", folder / f"m{at}-1"
        given = {"name": name, "output": "score", "reference": reference, "key": private}
        seal(model, out=target, schema=schema_of(reference), **given)
        sealed.append(SealedModel(target, private, public))
        rows[name] = rows_like(reference, -(-DECISIONS // len(makers)), at)
    return sealed, rows


def rows_like(reference: pd.DataFrame, n_rows: int, seed: int) -> list[dict[str, Any]]:
    """Rows drawn from a reference with new numbers: what is missing stays so, and words stay words."""
    rng = np.random.default_rng(seed)
    drawn = reference.sample(n_rows, replace=True, random_state=seed).reset_index(drop=True)
    for column in drawn.select_dtypes("float"):
        drawn[column] *= rng.uniform(0.5, 1.5, n_rows)
    found: list[dict[str, Any]] = json.loads(drawn.to_json(orient="records", double_precision=15))
    return found


def served(sealed: list[SealedModel], folder: Path) -> Service:
    service = start_serving(*sealed, folder=folder)
    service.wait_until_ready(START_S)  # each bundle is tried out the first time
    return service


def decide_all(port: int, rows: dict[str, list[dict[str, Any]]]) -> set[str]:
    """The ids of all answers."""
    answered: set[str] = set()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for name, own in rows.items():
        n_alone = int(len(own) * ALONE)
        bodies = [*own[:n_alone], *(own[at : at + MANY] for at in range(n_alone, len(own), MANY))]
        for body in bodies:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/models/{name}/predict", json.dumps(body), headers)
            response = connection.getresponse()
            said = json.loads(response.read())
            if response.status != 200:
                raise SystemExit(f"{name} answered {response.status}: {said}")
            answered.update(found["prediction_id"] for found in said.get("predictions", [said]))
    return answered


def replayed(state_dir: Path) -> tuple[list[dict[str, Any]], float]:
    """What `scoreline replay` says of each decision, and how long it took."""
    command, start_s = [COMMAND, "replay", "--all", "--json", "--state-dir", str(state_dir)], time.perf_counter()
    ended = subprocess.run(command, cwd=state_dir, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in ended.stdout.splitlines()], time.perf_counter() - start_s


if __name__ == "__main__":
    sys.exit(main())
