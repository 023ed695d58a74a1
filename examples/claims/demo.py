"""The main job from nothing: train, seal, sign, verify, serve, ask. `make demo` runs it.

It stays until Ctrl-C; with DEMO_SECONDS=30 it ends by itself, with 0 only if every answer it checked equalled the
bundle's own score.
"""

import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xgboost
from claims import make_claims

from scoreline.core.batch import Context
from scoreline.core.bundle import read_bundle
from scoreline.core.rows import read_rows
from scoreline.core.scorer import Scorer
from scoreline.engines.load import load_engine
from scoreline.signing import TrustStore

HERE = Path(__file__).parent
SEED = 42
ROWS = 20_000
PAUSE_S = 0.5


def main() -> int:
    deadline_s = time.monotonic() + float(os.environ.get("DEMO_SECONDS", "inf"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="scoreline-demo-") as folder:
        work = Path(folder)
        train(work)
        run("keygen", "--out", work / "signing")
        run(
            "seal", work / "fraud.ubj", "--name", "fraud", "--output", "fraud_probability",
            "--reference", work / "claims.parquet", "--schema", HERE / "schema.toml",
            "--threshold", "review=0.2", "--threshold", "decline=0.6",
            "--key", work / "signing.key", "--out", work / "bundles" / "fraud-1",
        )  # fmt: skip
        run("verify", work / "bundles" / "fraud-1", "--trust", work / "signing.pub")
        port, admin_port = free_port(8000), free_port(8001)
        serving = start(
            "serve", work / "bundles" / "fraud-1", "--trust", work / "signing.pub",
            "--port", port, "--admin-port", admin_port, "--state-dir", work / "state",
        )  # fmt: skip
        try:
            return ask(work, port, admin_port, deadline_s)
        finally:
            serving.terminate()
            serving.wait(30)


def train(work: Path) -> None:
    """A fraud model on 20,000 seeded claims, and those claims as reference rows."""
    claims, fraud = make_claims(ROWS, SEED)
    print(f"training on {ROWS:,} claims, {fraud.mean():.1%} of them fraud", flush=True)
    model = xgboost.XGBClassifier(n_estimators=100, max_depth=4, learning_rate=0.1, enable_categorical=True, n_jobs=1)
    model.fit(claims, fraud)
    model.save_model(work / "fraud.ubj")
    claims.to_parquet(work / "claims.parquet")


def ask(work: Path, port: int, admin_port: int, deadline_s: float) -> int:
    """Compares answers with the bundle's own scores, once a row, until the deadline or Ctrl-C."""
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(url)
    own_score, ended = scorer_of(work), until_signal()
    row: dict[str, Any] = {"amount": 5000}
    checked = agree(post(f"{url}/predict", row), own_score(row))
    print(
        f"\n  curl -X POST localhost:{port}/predict -d '{json.dumps(row)}'\n\n"
        f"  {url}/docs            try it in the browser\n"
        f"  {url}/models/fraud    what the model takes\n"
        f"  http://127.0.0.1:{admin_port}/status         what has been decided\n\n"
        "A trickle of claims is being scored; Ctrl-C ends it.",
        flush=True,
    )
    for claim in trickle():
        if ended.is_set() or time.monotonic() >= deadline_s or not checked:
            break
        checked = agree(post(f"{url}/predict", claim), own_score(claim))
        ended.wait(min(PAUSE_S, max(0.0, deadline_s - time.monotonic())))
    return 0 if checked else 1


def trickle() -> Iterator[dict[str, Any]]:
    """Claims for ever; now and then it says how many."""
    claims, _ = make_claims(2_000, SEED + 1)
    rows = [json.loads(line) for line in claims.to_json(orient="records", lines=True).splitlines()]
    for number, row in enumerate(itertools.cycle(rows), start=2):
        yield row
        if number % 20 == 0:
            print(f"{number} answers, each equal to the bundle's own score", flush=True)


def until_signal() -> threading.Event:
    """Set by Ctrl-C or SIGTERM: an exception may be raised where a library swallows it."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


def scorer_of(work: Path) -> Callable[[dict[str, Any]], float]:
    """The bundle's own score of a row, computed here and not by the service."""
    bundle = read_bundle(work / "bundles" / "fraud-1", TrustStore.from_files([work / "signing.pub"]))
    scorer = Scorer(bundle.manifest, load_engine(bundle))

    def own_score(row: dict[str, Any]) -> float:
        score: float = scorer(read_rows(bundle.manifest.schema, [row], Context(time.time_ns()))).scores.item()
        return score

    return own_score


def agree(answer: dict[str, Any], own: float) -> bool:
    if answer.get("fraud_probability") != own:
        print("an answer differs from the bundle's own score", file=sys.stderr)
        return False
    return True


def post(url: str, row: dict[str, Any]) -> dict[str, Any]:
    """The answer; where a busy machine leaves no time for one, it is asked for again when the service says so."""
    request = urllib.request.Request(url, json.dumps(row).encode(), {"Content-Type": "application/json"})
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(int(error.headers["Retry-After"]))
    raise SystemExit("the service has no time for a request")


def wait_until_ready(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/healthz/ready", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the service did not become ready")


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free."""
    for port in range(wanted, wanted + 200, 2):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port != wanted:
            print(f"port {wanted} is busy: using {port}", flush=True)
        return port
    raise SystemExit(f"no free port from {wanted} on")


def command(*words: object) -> list[str]:
    texts = [str(word) for word in words]
    print(f"$ scoreline {shlex.join(texts)}", flush=True)
    return [str(Path(sys.executable).with_name("scoreline")), *texts]


def run(*words: object) -> None:
    subprocess.run(command(*words), check=True)


def start(*words: object) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C comes here first, and the service is drained, not interrupted.
    return subprocess.Popen(command(*words), start_new_session=True)


if __name__ == "__main__":
    sys.exit(main())
