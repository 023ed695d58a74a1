"""What the record costs: the same requests with the full record and a running steward, and without.

Everything is told: whom a row is about, a request id, a trace. The worker is on core 0; `wrk` and the steward share
core 1, and each round begins with nothing left to ship. Two rounds to compare with: the same service with its steward
suspended, and one that records nothing and whose steward is suspended too. Beside the ratio stands what the steward
did meanwhile: where it shipped less than was decided, the rest is `lag_bytes`, and was shipped after the round.

On two cores the steward takes its time from `wrk` too, which then asks less. What the record leaves of the worker's own
core is told apart from that: the processor time of the worker for a request, without and with the record.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from measuring import ROUND_S, Figure, figure, interleaved, lua, requests_per_s
from services import HERE, Running, busy_s, service

from models import bench_model

CONNECTIONS: Final = 32
TOLD: Final = {
    "x_request_id": "0c0ffee0-1b2c-4d3e-8f90-a1b2c3d4e5f6",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def measure(folder: Path) -> list[Figure]:
    model = bench_model(folder / "told", 20, entity="customer")
    model = replace(model, one=json.dumps({**json.loads(model.one), "customer": "c-0815"}).encode())
    script = lua(folder / "told.lua", model.one, **TOLD)
    with (
        service(model, folder / "recorded") as ours,
        service(model, folder / "unrecorded", HERE / "unrecorded.py") as bare,
        bare.without_steward(),
    ):
        return list(compared(ours, bare, script))


def compared(ours: Running, bare: Running, script: Path) -> Iterator[Figure]:
    meanwhile: list[dict[str, Any]] = []
    took_us: dict[int, list[float]] = {ours.worker: [], bare.worker: []}

    def asked(running: Running) -> float:
        """Requests a second, and what each took of the worker's core."""
        before_s = busy_s(running.worker)
        found = requests_per_s(running.port, script, CONNECTIONS)
        took_us[running.worker].append(1e6 * (busy_s(running.worker) - before_s) / (found * ROUND_S))
        return found

    def recorded() -> float:
        ours.wait_until_shipped()
        before = ours.shipping()["shipped"]
        found = asked(ours)
        after = ours.shipping()
        shipped = after["shipped"] - before
        meanwhile.append({"decided": round(found * ROUND_S), "shipped": shipped, "lag_bytes": after["lag_bytes"]})
        return found

    def without(running: Running) -> float:
        with ours.without_steward():
            return asked(running)

    for name, base in (("record and steward", bare), ("steward", ours)):
        found = interleaved(
            f"requests/s at {CONNECTIONS} connections, full record and running steward / without {name}",
            ">= 0.9",
            lambda base=base: without(base),  # type: ignore[misc]
            recorded,
            before_base=ours.wait_until_shipped,
        )
        yield found | {"meanwhile": meanwhile[-len(found["all"]) :]}
        if base is bare:
            mine, theirs = median(took_us[ours.worker]), median(took_us[bare.worker])
            ratios = [other / one for other, one in zip(took_us[bare.worker], took_us[ours.worker], strict=True)]
            yield figure(
                "processor time of the worker for a request, without record / with it", theirs / mine, ">= 0.9", ratios
            ) | {"us_with": mine, "us_without": theirs}
