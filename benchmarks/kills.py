"""Endurance: a hundred random SIGKILLs on each database under load, and every prediction counted. `make soak` calls it.

What is killed, and what is counted, says `tests/killing.py`; the short form of the same is a test. SOAK_KILLS shortens
it, SOAK_SEED draws other moments.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from report import figure, write

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from killing import Count, run
from postgres_server import postgres_server
from service import seal_fraud

KILLS: Final = int(os.environ.get("SOAK_KILLS", "100"))
SEED: Final = int(os.environ.get("SOAK_SEED", "1"))


def main() -> int:
    figures = []
    with tempfile.TemporaryDirectory(prefix="scoreline-kills-") as name, postgres_server() as server:
        folder = Path(name)
        model = seal_fraud(folder)
        for place, postgres in (("PostgreSQL", server), ("SQLite", None)):
            start_s, url = time.monotonic(), postgres.new_schema() if postgres else ""
            count = run(model, folder / place, KILLS, SEED, url, postgres)
            figures += figures_of(place, count, time.monotonic() - start_s)
    written = write(figures, ["kills"], f"make soak (SOAK_KILLS={KILLS} SOAK_SEED={SEED})")
    for found in figures:
        print(f"{found['figure']:<70} {found['measured']:>12.0f}   {found['target']}")
    print(f"written to {written}")
    return 0 if all(found["held"] for found in figures) else 1


def figures_of(place: str, count: Count, elapsed_s: float) -> Iterator[dict[str, Any]]:
    told = count.told
    kills, answered = sum(count.kills.values()), sum(told.requests.values())
    failed = [*told.failed.values()]

    def of(name: str, value: float, target: str, kept: bool, **more: Any) -> dict[str, Any]:
        return figure(f"{place}: {name}", value, target, [value]) | {"held": kept} | more

    yield of("random kills", kills, f"{KILLS}", kills == KILLS, kinds=dict(count.kills), seconds=round(elapsed_s))
    yield of("requests answered", answered, "> 0", answered > 0, kinds=dict(told.requests))
    yield of("predictions answered", len(told.scores), "> 0", bool(told.scores))
    yield of("outcomes taken", len(told.outcomes) + told.by_entity, "> 0", bool(told.outcomes))
    for name, value in count.held.items():
        yield of(name, value, "0", not value)
    reasons = {reason: failed.count(reason) for reason in sorted({*failed})}
    yield of("requests that failed at a kill", len(failed), "(counted)", True, reasons=reasons)
    yield of("... of them recorded, in predictions", count.untold, "(counted)", True)
    yield of("segments", count.segments, "(counted)", True)


if __name__ == "__main__":
    sys.exit(main())
