"""A swap leaves nothing of the old version behind."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from service import FRAUD_ROW, SealedModel, clean_environment

SWAPS = """
    import asyncio, gc, json, sys
    from collections import Counter
    from dataclasses import replace
    from itertools import pairwise
    from pathlib import Path
    from statistics import median
    from scoreline.cli.serve import seed_state
    from scoreline.doors.http.worker import LatePages, Worker
    from scoreline.operations.credentials import Credentials, write_credentials
    from scoreline.operations.install import install
    from scoreline.operations.state import Assignment, read_state, write_state
    from scoreline.settings import load_settings
    from scoreline.wiring import verifier

    one, two, key, folder, row = sys.argv[1:]
    settings = load_settings(None, {}, {"trust.keys": [key], "state_dir": folder})
    seed_state([one], settings, "")
    write_credentials(Path(folder), Credentials())
    manifests = [install(ref, {}, verifier(settings), Path(folder)).manifest for ref in (one, two)]
    worker = Worker(settings)
    worker.load()
    pages = LatePages(worker.door)
    bodies = [row.encode(), b"[%s]" % b",".join([row.encode()] * 30), b"{"]

    async def ask_for_a_page():
        async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
        async def send(message): ...
        head = {"type": "http", "method": "GET", "path": "/openapi.json", "query_string": b"", "root_path": ""}
        await pages({**head, "scheme": "http", "headers": [(b"host", b"localhost")]}, receive, send)

    def swap(number):
        manifest = manifests[number % 2]
        state = replace(read_state(Path(folder)), models={"fraud": Assignment(manifest.version, manifest.digest)})
        write_state(Path(folder), state)
        asyncio.run(worker.follow())
        asked = {"headers": [(b"content-type", b"application/json")]}
        for body in bodies:
            worker.door.predict(worker.door.hot("/predict"), asked, body)
        worker.door.turn.commit()
        asyncio.run(ask_for_a_page())

    def objects():
        worker.close()  # a segment of the record keeps the authors it names until it ends
        gc.collect()
        return len(gc.get_objects()) + gc.get_freeze_count()

    for number in range(6):
        swap(number)
    counts = [objects()]
    for _ in range(5):
        for number in range(20):
            swap(number)
        counts.append(objects())
    left = median(after - before for before, after in pairwise(counts))  # what comes once is no leak
    gc.unfreeze()
    ours = [type(found) for found in gc.get_objects() if str(type(found).__module__).startswith("scoreline")]
    alive = Counter(kind.__name__ for kind in ours)
    print(json.dumps([left / 20, alive]))
"""


ASSIGNED = 'models={"fraud": Assignment(manifest.version, manifest.digest)}'
CANARIES = (
    SWAPS.replace(
        "from scoreline.operations.state import Assignment, read_state, write_state",
        "import time\n    from scoreline.operations.leased import renew\n"
        "    from scoreline.operations.state import Assignment, Canary, read_state, write_state",
    )
    .replace(
        f"        state = replace(read_state(Path(folder)), {ASSIGNED})\n",
        """        renew(Path(folder), time.time_ns())
        worker._lease.look()
        other = manifests[(number + 1) % 2]
        canary = Canary(other.version, other.digest, (number % 4) / 4, "ab") if number % 5 else None
        assigned = Assignment(manifest.version, manifest.digest, number % 4, canary)
        state = replace(read_state(Path(folder)), models={"fraud": assigned})
""",
    )
    .replace("range(6)", "range(20)")
)  # all authors have been there once


def run(program: str, folder: Path, *models: SealedModel) -> tuple[float, dict[str, int]]:
    """What a swap has left, by the median of five times twenty, and which objects of ours are alive after them."""
    folders = [model.folder for model in models]
    arguments = [*folders, models[0].public_key, folder / "state", json.dumps(FRAUD_ROW)]
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment(),
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    left, alive = json.loads(found.stdout)
    return left, alive


def test_twenty_stages_of_rollouts_leave_no_object_of_an_old_one(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    left_per_swap, alive = run(CANARIES, tmp_path, sealed, sealed_next)
    assert alive["Arms"] == alive["Pinned"] == alive["Model"] == 1, "the last stage has a canary"
    assert alive["XGBoostEngine"] == alive["Opened"] == 2
    assert alive["Endpoint"] == 6, "one of each dialect, and one for each version by its number"
    assert alive["Scorer"] <= 10, "one for each role of both versions"
    assert left_per_swap < 1


def test_twenty_swaps_leave_no_object_of_an_old_version(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    left_per_swap, alive = run(SWAPS, tmp_path, sealed, sealed_next)
    assert alive["Endpoint"] == 4, "one of each dialect"
    for kind in ("RowReader", "AnswerWriter", "Scorer", "XGBoostEngine", "Model"):
        assert alive[kind] == 1, kind
    assert left_per_swap < 1
