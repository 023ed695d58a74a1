"""Several engines of one model that give the same bits, each used for the batch sizes it is fastest at."""

from collections.abc import Sequence

from scoreline.core.link import Floats
from scoreline.core.ports import Engine


class TwinEngine:
    """Hands a batch to the first engine whose `max_rows` it does not exceed; the last one takes any size."""

    def __init__(self, engines: Sequence[tuple[Engine, int]]) -> None:
        *self._small, (self._large, _) = engines
        self.name = " + ".join(engine.name for engine, _ in engines)

    def predict(self, values: Floats) -> Floats:
        n_rows = len(values)
        for engine, max_rows in self._small:
            if n_rows <= max_rows:
                return engine.predict(values)
        return self._large.predict(values)

    def contributions(self, values: Floats) -> Floats | None:
        """By the engine that takes any size: it is the model's own library."""
        return self._large.contributions(values)
