"""What a canary costs: the same requests while it answers half of them, and without one.

The canary is the same model under another number. What differs is whose a request is, by a hash; a mark before and
after scoring; and that the worker has two models in use. Both stewards are suspended: what they do is not the question.
The lease is renewed before each round in their place.
"""

import http.client
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from measuring import Figure, interleaved, lua, requests_per_s
from services import service

from models import BenchModel, bench_model
from scoreline.core.bundle import SIGNATURE
from scoreline.core.manifest import MANIFEST, Manifest, canonical_json
from scoreline.operations.leased import FILE as LEASE
from scoreline.operations.leased import renew
from scoreline.operations.state import Canary, read_state, write_state
from scoreline.sealing.sign import sign_folder

CONNECTIONS: Final = 32
SHARE: Final = 0.5


def measure(folder: Path) -> list[Figure]:
    model = bench_model(folder / "model", 20)
    script = lua(folder / "one.lua", model.one)
    state_dir = folder / "both"
    with service(model, folder / "alone") as alone, service(model, state_dir) as both:
        while not (state_dir / LEASE).exists():  # the steward has applied the ledger
            time.sleep(0.1)
        with alone.without_steward(), both.without_steward():
            begin_canary(model, state_dir, both.port)

            def with_canary() -> float:
                renew(state_dir)
                return requests_per_s(both.port, script, CONNECTIONS)

            return [
                interleaved(
                    f"requests/s at {CONNECTIONS} connections, a canary answers half of them / without a canary",
                    ">= 0.9",
                    lambda: requests_per_s(alone.port, script, CONNECTIONS),
                    with_canary,
                )
            ]


def begin_canary(model: BenchModel, state_dir: Path, port: int) -> None:
    """Version 2, assigned beside version 1 as a steward does it, and taken by the worker."""
    other = another(model, state_dir, "2")
    renew(state_dir)
    state = read_state(state_dir)
    assigned = replace(state.models["fraud"], epoch=99, canary=Canary("2", other.digest, SHARE, "5a" * 16))
    write_state(state_dir, replace(state, models={"fraud": assigned}))
    while b'"version":"2"' not in ask(port, model.one):
        time.sleep(0.1)


def another(model: BenchModel, state_dir: Path, version: str, engine: str = "", *, alone: bool = False) -> Manifest:
    """The same model as another version, or on another kind of engine, in the state folder; `alone`: without a twin."""
    manifest = Manifest.from_bytes((model.bundle / MANIFEST).read_bytes())
    kept = manifest.engines[-1:] if alone else manifest.engines
    specs = tuple(replace(spec, kind=engine or spec.kind) for spec in kept)
    other = replace(manifest, version=version, engines=specs)
    target = state_dir / "bundles" / other.digest
    shutil.copytree(model.bundle, target, ignore=shutil.ignore_patterns(SIGNATURE))
    (target / MANIFEST).write_bytes(canonical_json(other.to_json()))
    sign_folder(target, model.trust.with_suffix(".key"))
    return other


def ask(port: int, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    found = connection.getresponse().read()
    connection.close()
    return found
