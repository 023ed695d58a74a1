"""How long a request takes here: by what this worker saw in the last 10 s, or else by what was sealed."""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

REMEMBERED_NS: Final = 10_000_000_000
SAMPLE_NS: Final = 10_000_000
RENEW_NS: Final = 500_000_000


class Expected:
    """The time of requests to one model, in nanoseconds, by their number of rows; from one power of two to the next.

    `measured` is the manifest's: p99 of a row, and rows/s in bulk, as sealing found them, maybe on another machine.
    They count until this worker has seen for itself, and again when it has seen nothing for 10 s.
    """

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self._row_ns = 1e3 * _number(measured.get("row_p99_us"))
        rows_per_s = _number(measured.get("bulk_rows_per_s"))
        self._next_row_ns = 1e9 / rows_per_s if rows_per_s else 0.0
        self._seen: dict[int, _Seen] = {}

    def of(self, n_rows: int, now_ns: int) -> float:
        seen = self._seen.get(n_rows.bit_length())
        if seen is not None and now_ns < seen.until_ns:
            return seen.median_ns
        return self._row_ns + (n_rows - 1) * self._next_row_ns

    def took(self, n_rows: int, took_ns: int, now_ns: int) -> None:
        """A request was answered; one in 10 ms is remembered."""
        seen = self._seen.get(n_rows.bit_length())
        if seen is None:
            seen = self._seen[n_rows.bit_length()] = _Seen()
        if now_ns >= seen.next_ns:
            seen.add(took_ns, now_ns)


class _Seen:
    """Times of the last 10 s, and their median as it was half a second ago or less."""

    def __init__(self) -> None:
        self.next_ns = self.until_ns = 0
        self.median_ns = 0.0
        self._renew_ns = 0
        self._times: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_NS // SAMPLE_NS)

    def add(self, took_ns: int, now_ns: int) -> None:
        self.next_ns, self.until_ns = now_ns + SAMPLE_NS, now_ns + REMEMBERED_NS
        times = self._times
        times.append((now_ns, took_ns))
        if now_ns < self._renew_ns:
            return
        self._renew_ns = now_ns + RENEW_NS
        while times[0][0] < now_ns - REMEMBERED_NS:
            times.popleft()
        self.median_ns = median([took for _, took in times])


def _number(found: Any) -> float:
    """What a manifest says, where it is a number above 0: another sealer may have written anything."""
    return float(found) if isinstance(found, int | float) and 0 < found < float("inf") else 0.0
