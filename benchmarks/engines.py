"""The figures of engines alone: one row at a time, without schema, record or HTTP."""

import os
import time
from statistics import median
from typing import Any, Final

import lightgbm
import numpy as np

from scoreline.engines.lightgbm import LightGBMEngine

ROUNDS: Final = 9
CALLS: Final = 20_000


def measure() -> list[dict[str, Any]]:
    """100 trees of 63 leaves and depth 6 on 20 floats, in one thread on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 20))
    label = (values[:, :5].sum(axis=1) + rng.normal(size=len(values)) > 0).astype(int)
    settings = {"objective": "binary", "max_depth": 6, "num_leaves": 63, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(values, label), 100)
    engine = LightGBMEngine(booster.model_to_string().encode(), 20, 1)
    rows = [values[number : number + 1] for number in range(1000)]
    times_us = []
    for _ in range(ROUNDS):
        start_ns = time.perf_counter_ns()
        for number in range(CALLS):
            engine.predict(rows[number % 1000])
        times_us.append((time.perf_counter_ns() - start_ns) / CALLS / 1e3)
    os.sched_setaffinity(0, before)
    name = "LightGBM, one row, engine alone, us"
    return [{"figure": name, "measured": median(times_us), "target": "<= 15", "all": times_us}]
