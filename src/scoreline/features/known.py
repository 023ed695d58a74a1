"""What was looked up lately: what a request falls back to while the store does not answer."""

from collections.abc import Sequence
from itertools import islice

from scoreline.core.ports import FeatureRow, Views


class Known:
    """The last row of each view and entity, of at most `most` of them; who was looked up longest ago goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: dict[tuple[str, str], FeatureRow] = {}

    def keep(self, views: Views, rows: Sequence[FeatureRow | None]) -> None:
        """Keeps what a store answered of an entity, a row per view."""
        for view, row in zip(views, rows, strict=True):
            if row is not None:
                key = view, row.entity
                self._rows.pop(key, None)
                self._rows[key] = row
        if len(self._rows) > self._most:
            for oldest in list(islice(self._rows, len(self._rows) - self._most)):
                del self._rows[oldest]

    def get(self, views: Views, entity: str) -> list[FeatureRow | None]:
        """What is known of an entity, a row per view."""
        return [self._rows.get((view, entity)) for view in views]
