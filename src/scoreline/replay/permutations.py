"""What each field adds to a margin, for models that cannot say so themselves: Shapley values by permutations.

Beginning at a row of the background, the fields of the explained row are put in one after the other; what a field
changes is its contribution in that order, and its contribution is the mean over orders and background rows. With at
most four fields all orders are taken, and the values are exact. Else orders are drawn, and each is also gone backwards
("antithetic"), which makes them exact for every model in which no more than two fields work together.

In each order the changes add up to f(row) - f(background row): the result is additive by construction.
Method: Castro, Gómez, Tejada, "Polynomial calculation of the Shapley value based on sampling" (2009); antithetic pairs:
Mitchell, Cooper, Frank, Holmes, "Sampling permutations for Shapley value estimation" (2022).
"""

import itertools
import random
from collections.abc import Sequence
from typing import Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.ports import Engine

ALL_ORDERS_UP_TO: Final = 4
PAIRS: Final = 16
MOST_ROWS: Final = 200_000
PIECE_ROWS: Final = 4096
Order = tuple[int, ...]


def orders(n_fields: int, n_background: int, seed: int) -> Sequence[Order]:
    """All orders of few fields; else 16 drawn ones and the same backwards, fewer where that costs over 200,000 rows.

    They are drawn by sorting on `random.Random(seed).random()`, the one generator whose numbers Python promises to
    keep: the same seed gives the same explanation with any version.
    """
    if n_fields <= ALL_ORDERS_UP_TO:
        return list(itertools.permutations(range(n_fields)))
    pairs = max(1, min(PAIRS, MOST_ROWS // (2 * (n_fields + 1) * n_background)))
    draw = random.Random(seed).random
    drawn = [tuple(sorted(range(n_fields), key=[draw() for _ in range(n_fields)].__getitem__)) for _ in range(pairs)]
    return [order for forwards in drawn for order in (forwards, forwards[::-1])]


def permuted_contributions(engine: Engine, row: Floats, background: Floats, taken: Sequence[Order]) -> Floats:
    """Float64 (n_outputs, n_fields + 1), the base value, the mean margin of the background, last.

    `row` float64 (n_fields,), `background` float64 (n_rows, n_fields); raises EngineFailed.
    """
    n_fields = len(row)
    total: Floats | float = 0.0
    for order in taken:
        means = _means_on_the_way(engine, row, background, order)
        changes = np.empty((n_fields + 1, means.shape[1]))
        changes[list(order)] = np.diff(means, axis=0)
        changes[n_fields] = means[0]
        total = total + changes
    found: Floats = np.ascontiguousarray((total / len(taken)).T)  # type: ignore[union-attr]
    return found


def _means_on_the_way(engine: Engine, row: Floats, background: Floats, order: Order) -> Floats:
    """The mean margins over the background with none, the first, the first two ... all fields of the row put in."""
    place = np.argsort(order)
    steps_at_once = max(1, PIECE_ROWS // len(background))
    means = []
    for start in range(0, len(row) + 1, steps_at_once):
        steps = np.arange(start, min(start + steps_at_once, len(row) + 1))
        is_put_in = place < steps[:, None, None]
        values = np.where(is_put_in, row, background).reshape(-1, len(row))
        margins = engine.predict(np.ascontiguousarray(values))
        means.append(margins.reshape(len(steps), len(background), -1).mean(axis=1))
    return np.concatenate(means)
