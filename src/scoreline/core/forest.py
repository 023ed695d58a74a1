"""Whether trees are trees: libraries follow a child, a feature or a place in a table wherever it points."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]


def is_forest(sizes: Ints, owners: Ints, children: Ints) -> bool:
    """Whether no node has two parents, no root (node 0) has one, and every child lies within its own tree.

    `sizes` are the nodes of each tree, `owners` the tree of each child.
    """
    if not within(children, 1, sizes[owners] - 1):
        return False
    places = (np.cumsum(sizes) - sizes)[owners] + children
    return bool(np.bincount(places).max(initial=0) <= 1)


def within(values: Ints, low: int, high: Ints | int) -> bool:
    """Whether all values lie between two, both included."""
    return bool(((values >= low) & (values <= high)).all())
