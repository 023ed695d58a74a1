"""A model behind the graph that makes what it takes of the fields: a pipeline whose end is a booster."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.core.ports import Engine

PIECE: Final = 4096


class PreparedEngine:
    """Hands the fields to one engine and what that answers to the next, a piece at a time.

    One field may become thousands of columns: a whole file of them at once would not fit into memory.
    `sources` has the field each of these columns is made of; bundles sealed before it was kept have none.
    """

    def __init__(self, prepare: Engine, engine: Engine, sources: Sequence[int] = ()) -> None:
        self._prepare = prepare
        self._engine = engine
        self._sources = np.asarray(sources, dtype=np.int64)
        self.name = f"{engine.name} behind {prepare.name}"

    def predict(self, values: Floats) -> Floats:
        if len(values) <= PIECE:
            return self._engine.predict(self._prepare.predict(values))
        return np.concatenate([self.predict(values[at : at + PIECE]) for at in range(0, len(values), PIECE)])

    def contributions(self, values: Floats) -> Floats | None:
        """Each field's is the sum over the columns made of it; None where the engine has none, or no `sources`."""
        if not self._sources.size:
            return None
        pieces = [self._pieced(values[at : at + PIECE]) for at in range(0, max(1, len(values)), PIECE)]
        found = [piece for piece in pieces if piece is not None]
        return np.concatenate(found) if len(found) == len(pieces) else None

    def _pieced(self, values: Floats) -> Floats | None:
        by_column = self._engine.contributions(self._prepare.predict(values))
        if by_column is None:
            return None
        if by_column.shape[2] != len(self._sources) + 1:
            raise EngineFailed(f"{self.name}: its columns are not as many as the fields they are said to be made of")
        n_fields = values.shape[1]
        found = np.zeros((n_fields + 1, *by_column.shape[:2]))
        np.add.at(found, np.append(self._sources, n_fields), by_column.transpose(2, 0, 1))
        return found.transpose(1, 2, 0)
