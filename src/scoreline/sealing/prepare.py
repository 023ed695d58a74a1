"""Puts columns into a graph: numbers by their arithmetic, categories by comparison with a code or by their table."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.sealing.columns import REFUSED, Column, Number, Words
from scoreline.sealing.graph import INPUT, Graph

_MISSING: Final = "IsMissing"


def matrix(graph: Graph, columns: Sequence[Column]) -> str:
    """All columns in their order, (n_rows, n_columns) in float64, with the bits of the trainer's own arithmetic."""
    groups: dict[tuple[str, ...], list[int]] = {}
    plain = [_simplest(column) for column in columns]
    for position, column in enumerate(plain):
        how = tuple(operator for operator, _ in column.steps) if isinstance(column, Number) else ("Lookup",)
        groups.setdefault(how, []).append(position)
    parts = [_group(graph, how, [plain[position] for position in found]) for how, found in groups.items()]
    joined = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    order = [position for found in groups.values() for position in found]
    if order == sorted(order):
        return joined
    return graph.picked(joined, np.argsort(order).tolist())


def linear(graph: Graph, columns: Sequence[Column], weights: Floats, intercept: Floats) -> str:
    """The weighted sum of all columns, (n_rows, n_outputs); `weights` are (n_columns, n_outputs).

    A category's columns are taken together: what a word adds to the sum is one entry of one table.
    """
    parts: list[str] = []
    numbers = [position for position, column in enumerate(columns) if isinstance(column, Number)]
    if numbers:
        values = matrix(graph, [columns[position] for position in numbers])
        deep = graph.add("Unsqueeze", values, graph.constant(np.array([2], np.int64)))
        parts.append(graph.add("Mul", deep, graph.constant(weights[numbers])))
    tables: dict[int, Floats] = {}
    for column, weight in zip(columns, weights, strict=True):
        if isinstance(column, Words):
            tables[column.source] = tables.get(column.source, 0.0) + np.outer(_table(column), weight)
    if tables:
        codes = _codes(graph, list(tables), [len(table) - 1 for table in tables.values()])
        parts.append(graph.add("Gather", graph.constant(np.concatenate(list(tables.values()))), codes, axis=0))
    joined = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    total = graph.summed(joined, len(numbers) + len(tables))
    return graph.add("Add", total, graph.constant(intercept))


def zeros_as_missing(graph: Graph, values: str) -> str:
    """What XGBoost sees of a sparse matrix: what is not stored is missing to it."""
    is_zero = graph.add("Equal", values, graph.constant(0.0))
    return graph.add("Where", is_zero, graph.constant(np.nan), values)


def _simplest(column: Column) -> Column:
    """A category's column as arithmetic where it marks one word, or missing: a table per word would be a square."""
    if isinstance(column, Number):
        return column
    table = _table(column)
    marked = np.flatnonzero(table)
    if len(marked) != 1 or table[marked[0]] != 1.0:
        return column
    code = int(marked[0])
    return Number(column.source, ((_MISSING, 0.0),) if code == len(table) - 1 else (("Equal", float(code)),))


def _group(graph: Graph, how: tuple[str, ...], columns: Sequence[Column]) -> str:
    if how == ("Lookup",):
        tables = [_table(column) for column in columns if isinstance(column, Words)]
        codes = _codes(graph, [column.source for column in columns], [len(table) - 1 for table in tables])
        return graph.add("Gather", graph.constant(np.concatenate(tables)), codes, axis=0)
    values = graph.picked(INPUT, [column.source for column in columns])
    for number, operator in enumerate(how):
        constants = np.array([column.steps[number][1] for column in columns if isinstance(column, Number)])
        values = _step(graph, operator, values, constants)
    return values


def _step(graph: Graph, operator: str, values: str, constants: Floats) -> str:
    if operator == _MISSING:
        return graph.cast(graph.add("IsNaN", values), "DOUBLE")
    if operator == "Fill":
        return graph.add("Where", graph.add("IsNaN", values), graph.constant(constants), values)
    found = graph.add(operator, values, graph.constant(constants))
    return graph.cast(found, "DOUBLE") if operator == "Equal" else found


def _codes(graph: Graph, sources: Sequence[int], missing: Sequence[int]) -> str:
    """Places in tables laid end to end, (n_rows, len(sources)) as int64; the last place of each is for missing."""
    values = graph.picked(INPUT, sources)
    codes = graph.add("Where", graph.add("IsNaN", values), graph.constant(np.array(missing, np.float64)), values)
    starts = np.cumsum([0, *(last + 1 for last in missing[:-1])])
    return graph.cast(graph.add("Add", codes, graph.constant(starts.astype(np.float64))), "INT64")


def _table(column: Words) -> Floats:
    """By word and then for missing. NaN stands where the trainer raises: no such row passes the schema."""
    return np.array([np.nan if value is REFUSED else float(value) for value in column.values[:-1]])
