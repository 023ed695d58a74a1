"""The command line of a Scoreline that knows one engine more: a booster that takes 2 ms of its core for a request."""

import time
from typing import Final

from scoreline.cli import main
from scoreline.core.link import Floats
from scoreline.engines import load
from scoreline.engines.xgboost import XGBoostEngine

KIND: Final = "slow"
TAKES_NS: Final = 2_000_000


class Slow(XGBoostEngine):
    """A `core.ports.Engine`."""

    def predict(self, values: Floats) -> Floats:
        until_ns = time.perf_counter_ns() + TAKES_NS
        margins = super().predict(values)
        while time.perf_counter_ns() < until_ns:
            pass
        return margins


if __name__ == "__main__":
    load.ENGINES[KIND] = f"slow:{Slow.__name__}"  # type: ignore[index]
    main()
