"""The command line of a Scoreline that knows one engine more: a booster that misbehaves when it is asked to.

What it does depends on the first field of a row; its golden rows are others.
"""

import ctypes
import os
import signal
import time
from typing import Final

import numpy as np

from scoreline.cli import main
from scoreline.control import shadow
from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.engines import load
from scoreline.engines.xgboost import XGBoostEngine

KIND: Final = "misbehaving"
RAISES: Final = 1013.0
NO_NUMBER: Final = 1014.0
SLOW: Final = 1015.0
CRASHES: Final = 1016.0
HANGS: Final = 1017.0
KILLS: Final = 1018.0
ANOTHER_ERROR: Final = 1019.0


class Misbehaving(XGBoostEngine):
    """A `core.ports.Engine`."""

    def predict(self, values: Floats) -> Floats:
        asked = set(values[:, 0].tolist())
        if RAISES in asked:
            raise EngineFailed("the library says no")
        if ANOTHER_ERROR in asked:
            raise ZeroDivisionError("a row's own words")
        if SLOW in asked:
            time.sleep(0.2)
        if HANGS in asked:
            time.sleep(600)
        if CRASHES in asked:
            ctypes.string_at(0)
        if KILLS in asked:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.where(values[:, :1] == NO_NUMBER, np.nan, super().predict(values))


if __name__ == "__main__":
    load.ENGINES[KIND] = f"canaries:{Misbehaving.__name__}"  # type: ignore[index]
    shadow.LIMIT_S = float(os.environ.get("CANARIES_LIMIT_S", shadow.LIMIT_S))  # type: ignore[misc]
    main()
