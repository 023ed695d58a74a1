"""Clients of their own processes that ask without pause, and write down what they were told before they ask again.

A client retries nothing. Each of its requests has an id of its own, which stands in the record too: what was recorded
and never told can be traced to a request that failed.
"""

import contextlib
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TextIO

from service import FRAUD_ROW

ROWS = 100  # of a large request
REFUSED_PAUSE_S = 0.02
PATIENCE_S = 60
TYPES = {"amount": "FP64", "age_days": "INT64", "country": "BYTES", "repeat": "BOOL", "distance": "FP64"}
_fork = multiprocessing.get_context("fork")


@dataclass
class Told:
    """What all clients were told: scores by prediction id, requests that failed, outcomes that were taken."""

    scores: dict[str, float] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)  # answered ones, by kind
    twice: int = 0  # ids that two answers had
    failed: dict[str, str] = field(default_factory=dict)  # request id: what happened
    refused: int = 0  # connections nobody took: these requests were never sent
    outcomes: list[str] = field(default_factory=list)  # prediction ids whose outcome was taken
    by_entity: int = 0  # outcomes by entity that were taken
    outcomes_failed: int = 0


class Askers:
    """The clients of one run: one that reports outcomes, too, and `n_askers` that only ask."""

    def __init__(self, folder: Path, port: int, admin_port: int, n_askers: int) -> None:
        self._enough = _fork.Event()
        self._answered, self._reported = _fork.Value("q", 0), _fork.Value("q", 0)
        self._files = [folder / f"asker-{number}.jsonl" for number in range(n_askers + 1)]
        shared = port, admin_port, self._enough, self._answered, self._reported
        self._processes = [
            _fork.Process(target=_ask_until_enough, args=(number, path, *shared), daemon=True)
            for number, path in enumerate(self._files)
        ]

    @property
    def answered(self) -> int:
        """Requests answered so far."""
        return int(self._answered.value)

    @property
    def reported(self) -> int:
        """Outcomes taken so far."""
        return int(self._reported.value)

    def start(self) -> None:
        for process in self._processes:
            process.start()

    def end(self) -> Told:
        """Lets every client end its last request; what all of them were told."""
        self._enough.set()
        for process in self._processes:
            process.join(2 * PATIENCE_S)
            assert process.exitcode == 0, f"a client ended with {process.exitcode}"
        told = Told()
        for path in self._files:
            with path.open() as lines:
                for line in lines:
                    _take(told, *json.loads(line))
        return told

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


@contextlib.contextmanager
def asking(folder: Path, port: int, admin_port: int, n_askers: int = 2) -> Iterator[Askers]:
    """Clients that ask for the time of the block; `end` tells what they know."""
    askers = Askers(folder, port, admin_port, n_askers)
    askers.start()
    try:
        yield askers
    finally:
        askers.kill()


def _take(told: Told, what: str, name: str, found: Any) -> None:
    if what == "failed":
        told.failed[name] = found
    elif what == "refused":
        told.refused += found
    elif what == "outcome":
        told.outcomes.append(name)
    elif what == "outcome by entity":
        told.by_entity += 1
    elif what == "outcome failed":
        told.outcomes_failed += 1
    else:
        told.requests[what] += 1
        told.twice += sum(id_ in told.scores for id_, _ in found)
        told.scores.update(found)


def _ask_until_enough(
    number: int, path: Path, port: int, admin_port: int, enough: Any, answered: Any, reported: Any
) -> None:
    rng, asker = random.Random(number), _Asker(port)
    reporter = _Asker(admin_port) if number == 0 else None
    with path.open("w") as file:
        count = 0
        while not enough.is_set():
            count += 1
            name = f"{number}-{count}"
            kind, predictions = _ask(asker, file, name, rng)
            if predictions:
                with answered.get_lock():
                    answered.value += 1
            if predictions and reporter and kind == "one row":
                by_entity = reported.value % 3 == 2
                reported.value += _report(reporter, file, f"{name}-customer", predictions[0][0], by_entity=by_entity)
        _write(file, "refused", "", asker.refused)


def _ask(asker: "_Asker", file: TextIO, name: str, rng: random.Random) -> tuple[str, list[tuple[str, float]]]:
    """One request; the ids and scores it was told, none where it failed or nobody took the connection."""
    kind = rng.choices(("one row", "many rows", "v2"), (0.87, 0.03, 0.1))[0]
    rows = [_row(rng, f"{name}-customer") for _ in range({"one row": 1, "many rows": ROWS, "v2": 3}[kind])]
    path, body = "/predict", rows[0] if kind == "one row" else rows
    if kind == "v2":
        path, body = "/v2/models/fraud/infer", _tensors(rows)
    status, said = asker.ask(path, body, name)
    if status == 200:
        found = _predictions(kind, json.loads(said))
        assert len(found) == len(rows)
        _write(file, kind, name, found)
        return kind, found
    if status is not None:
        _write(file, "failed", name, f"{status}" if status else said.decode())
    return kind, []


def _report(asker: "_Asker", file: TextIO, customer: str, prediction: str, *, by_entity: bool) -> bool:
    """Whether it was taken."""
    body: dict[str, Any] = {"prediction_id": prediction, "value": True}
    if by_entity:
        body = {"model": "fraud", "entity": customer, "event_time": datetime.now(UTC).isoformat(), "value": True}
    status, said = asker.ask("/outcomes", body, "")
    if status == 200:
        _write(file, "outcome by entity" if by_entity else "outcome", prediction, None)
    else:
        _write(file, "outcome failed", prediction, f"{status}" if status else said.decode())
    return status == 200


def _row(rng: random.Random, customer: str) -> dict[str, Any]:
    drawn = {"amount": round(rng.uniform(1, 90_000), 2), "age_days": rng.randrange(3000), "customer": customer}
    return {**FRAUD_ROW, **drawn}


def _tensors(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same rows as Open Inference v2 has them."""
    names = {**TYPES, "customer": "BYTES"}
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, kind in names.items()
        ]
    }


def _predictions(kind: str, answer: dict[str, Any]) -> list[tuple[str, float]]:
    if kind == "v2":
        found = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
        return list(zip(found["prediction_id"], found["fraud_probability"], strict=True))
    rows = [answer] if kind == "one row" else answer["predictions"]
    return [(row["prediction_id"], row["fraud_probability"]) for row in rows]


def _write(file: TextIO, *event: Any) -> None:
    file.write(json.dumps(event) + "\n")


class _Asker:
    """A connection that is kept while it can be; `refused` counts the times nobody took it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: HTTPConnection | None = None
        self.refused = 0

    def ask(self, path: str, body: object, name: str) -> tuple[int | None, bytes]:
        """Status and body of one request; 0 and what happened where it failed, None where it was never sent."""
        try:
            connection = self._connection or self._connect()
        except OSError:
            self.refused += 1
            time.sleep(REFUSED_PAUSE_S)
            return None, b""
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **_id(name)})
            response = connection.getresponse()
            said = response.read()  # raises IncompleteRead where the body is not whole
        except (OSError, HTTPException) as error:
            self._close()
            return 0, type(error).__name__.encode()
        if response.will_close:
            self._close()
        return response.status, said

    def _connect(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        connection.connect()
        self._connection = connection
        return connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _id(name: str) -> dict[str, str]:
    return {"X-Request-Id": name} if name else {}
