"""A model behind the graph that makes what it takes of the fields: a pipeline whose end is a booster."""

from scoreline.core.link import Floats
from scoreline.core.ports import Engine


class PreparedEngine:
    """Hands the fields to one engine and what that answers to the next."""

    def __init__(self, prepare: Engine, engine: Engine) -> None:
        self._prepare = prepare
        self._engine = engine
        self.name = f"{engine.name} behind {prepare.name}"

    def predict(self, values: Floats) -> Floats:
        return self._engine.predict(self._prepare.predict(values))
