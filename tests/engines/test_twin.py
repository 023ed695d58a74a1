"""Twin engines: each batch goes to the one that is fastest at its size."""

import numpy as np
import pytest

from models import Array
from scoreline.engines.twin import TwinEngine


class Named:
    """Answers its own number for every row."""

    def __init__(self, number: float) -> None:
        self.name = f"engine {number:g}"
        self._number = number

    def predict(self, values: Array) -> Array:
        return np.full((len(values), 1), self._number)


@pytest.mark.parametrize(("n_rows", "wanted"), [(1, 1.0), (64, 1.0), (65, 2.0), (200, 2.0), (201, 3.0), (100_000, 3.0)])
def test_batch_goes_to_the_first_engine_it_is_not_too_large_for(n_rows: int, wanted: float) -> None:
    twin = TwinEngine([(Named(1), 64), (Named(2), 200), (Named(3), 0)])
    assert (twin.predict(np.zeros((n_rows, 2))) == wanted).all()


def test_no_rows_are_taken_too() -> None:
    assert TwinEngine([(Named(1), 64), (Named(3), 0)]).predict(np.zeros((0, 2))).shape == (0, 1)


def test_name_says_all_of_them() -> None:
    assert TwinEngine([(Named(1), 64), (Named(3), 0)]).name == "engine 1 + engine 3"
