"""A model behind the graph that makes what it takes of the fields: a pipeline whose end is a booster."""

from typing import Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.ports import Engine

PIECE: Final = 4096


class PreparedEngine:
    """Hands the fields to one engine and what that answers to the next, a piece at a time.

    One field may become thousands of columns: a whole file of them at once would not fit into memory.
    """

    def __init__(self, prepare: Engine, engine: Engine) -> None:
        self._prepare = prepare
        self._engine = engine
        self.name = f"{engine.name} behind {prepare.name}"

    def predict(self, values: Floats) -> Floats:
        if len(values) <= PIECE:
            return self._engine.predict(self._prepare.predict(values))
        return np.concatenate([self.predict(values[at : at + PIECE]) for at in range(0, len(values), PIECE)])
