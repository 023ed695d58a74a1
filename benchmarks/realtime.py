"""The figures of the real-time door, side by side with a raw ASGI "hello" on the same uvicorn.

The worker has core 0 for itself; wrk, the supervisor and the steward share core 1. Nothing is left to be shipped when
the ceiling has its round.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import psutil
import xgboost
from measuring import Figure, figure, interleaved, lua, p50_us, requests_per_s
from services import answer_when_up, ceiling, free_port, launch_service, service

from models import BenchModel, bench_model, pipeline_model

MANY_ROUNDS: Final = 15  # rounds of 1,000 rows differ by 15 %: their working set is larger than a core's own cache


def measure(folder: Path) -> list[Figure]:
    """All figures of the door; each with its name, value, target and how it was found."""
    narrow = bench_model(folder / "20", 20)
    wide = bench_model(folder / "600", 600, n_rows=1)
    strings = pipeline_model(folder / "strings")
    return [
        *cold_start(narrow, folder),
        *side_by_side(narrow, folder),
        *columns(narrow, wide, folder),
        *raw_strings(narrow, strings, folder),
    ]


def cold_start(model: BenchModel, folder: Path) -> Iterator[Figure]:
    times_s = []
    for number in range(9):
        port = free_port()
        start_s = time.perf_counter()
        process = launch_service(model, folder / f"cold-{number}", port, free_port())
        answer_when_up(port, model.one)
        times_s.append(time.perf_counter() - start_s)
        process.terminate()
        process.wait(30)
    yield figure("cold start: process start to first verified answer, s", median(times_s), "<= 0.5", times_s)


def side_by_side(model: BenchModel, folder: Path) -> Iterator[Figure]:
    with ceiling() as hello, service(model, folder / "state") as running:
        ours = running.port
        one, many = lua(folder / "one.lua", model.one), lua(folder / "many.lua", model.many)
        yield interleaved(
            "requests/s at 32 connections / ceiling",
            ">= 0.55",
            lambda: requests_per_s(hello, one, 32),
            lambda: requests_per_s(ours, one, 32),
            before_base=running.wait_until_shipped,
        )
        yield interleaved(
            "p50 at 1 connection / ceiling's",
            "<= 2",
            lambda: p50_us(hello, one),
            lambda: p50_us(ours, one),
        )
        booster = xgboost.Booster(model_file=model.library_file)
        booster.set_param({"nthread": 1})

        def thousand_rows(where: str, target: str) -> Figure:
            return interleaved(
                f"1,000-row JSON request, rows/s / the library's own bulk predict{where}",
                target,
                lambda: library_rows_per_s(booster, model),
                lambda: 1000 * requests_per_s(ours, many, 2),
                MANY_ROUNDS,
            )

        yield thousand_rows(", memory as found", "(>= 0.40)")
        with page_cache_in_use(folder):
            yield thousand_rows("", ">= 0.40")
            matrix = tensors(folder / "tensors.lua", model)
            yield interleaved(
                "1,000 rows as Open Inference v2 binary tensors, rows/s / the library's own bulk predict",
                ">= 0.60",
                lambda: library_rows_per_s(booster, model),
                lambda: 1000 * requests_per_s(ours, matrix, 2),
                MANY_ROUNDS,
            )
        pss_mb = psutil.Process(running.worker).memory_full_info().pss / 1e6
        yield figure("memory per worker (PSS) after this load, MB", pss_mb, "<= 100", [pss_mb])


@contextlib.contextmanager
def page_cache_in_use(folder: Path) -> Iterator[None]:
    """Memory as on a machine that has been up for a while: what nobody needs holds pages of files.

    A virtual machine gets a page from its host when it is first touched, 9 us where this was written; a record of 1,000
    rows takes 44 new ones, which makes 0.4 of 2.3 ms. Reading a file without content touches all of them once.
    """
    path = folder / "without-content"
    with path.open("wb+", buffering=0) as file:
        file.truncate(psutil.virtual_memory().available)
        piece = bytearray(1 << 20)
        while file.readinto(piece):
            pass
        try:
            yield
        finally:
            path.unlink()


def columns(narrow: BenchModel, wide: BenchModel, folder: Path) -> Iterator[Figure]:
    with service(narrow, folder / "narrow") as few, service(wide, folder / "wide") as lots:
        one, six_hundred = lua(folder / "20.lua", narrow.one), lua(folder / "600.lua", wide.one)
        yield interleaved(
            "one row, whole request: 600 columns / 20 columns, p50",
            "<= 8",
            lambda: p50_us(few.port, one),
            lambda: p50_us(lots.port, six_hundred),
        )


def raw_strings(narrow: BenchModel, strings: BenchModel, folder: Path) -> Iterator[Figure]:
    with service(narrow, folder / "numbers") as base, service(strings, folder / "words") as ours:
        numbers, words = lua(folder / "numbers.lua", narrow.one), lua(folder / "words.lua", strings.one)
        yield interleaved(
            "a scikit-learn pipeline on raw strings, one request / the XGBoost one, p50",
            "<= 3",
            lambda: p50_us(base.port, numbers),
            lambda: p50_us(ours.port, words),
        )


def library_rows_per_s(booster: xgboost.Booster, model: BenchModel) -> float:
    """XGBoost's own in-place prediction of the same 1,000 rows, one thread, on the worker's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    end_s = time.perf_counter() + 1.0
    rows, start_s = 0, time.perf_counter()
    while time.perf_counter() < end_s:
        booster.inplace_predict(model.values)
        rows += len(model.values)
    elapsed_s = time.perf_counter() - start_s
    os.sched_setaffinity(0, before)
    return rows / elapsed_s


def tensors(path: Path, model: BenchModel) -> Path:
    """The rows as one FP64 matrix in bytes, as a client of the Open Inference Protocol sends them."""
    raw = model.values.astype("<f8").tobytes()
    tensor = {"name": "input", "datatype": "FP64", "shape": [*model.values.shape]}
    asked = {"binary_data_output": True}
    head = {"parameters": asked, "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}
    written = json.dumps(head).encode()
    headers = {"content_type": "application/octet-stream", "inference_header_content_length": str(len(written))}
    return lua(path, written + raw, "/v2/models/fraud/infer", **headers)
