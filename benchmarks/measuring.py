"""How figures are found: rounds taken in turn, and `wrk` on core 1, which asks what answers on core 0."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from report import figure

ROUNDS: Final = 5
ROUND_S: Final = 3
CEILING_MOVE: Final = 0.10
TRIES: Final = 3
Figure = dict[str, Any]


def interleaved(
    name: str,
    target: str,
    base: Callable[[], float],
    ours: Callable[[], float],
    rounds: int = ROUNDS,
    *,
    before_base: Callable[[], None] = lambda: None,
) -> Figure:
    """The median of ours / base over rounds taken in turn; all again while the base moved more than 10 %."""

    def pair() -> tuple[float, float]:
        before_base()
        return base(), ours()

    pair()
    for _ in range(TRIES):
        pairs = [pair() for _ in range(rounds)]
        bases = sorted(value for value, _ in pairs)
        moved = (bases[-2] - bases[1]) / median(bases)
        if moved <= CEILING_MOVE:
            break
    ratios = [mine / other for other, mine in pairs]
    return figure(name, median(ratios), target, ratios) | {
        "base": median(bases),
        "ours": median(mine for _, mine in pairs),
        "note": f"{rounds} pairs; the base moved {moved:.0%} but for its best and worst round",
    }


def requests_per_s(port: int, script: Path, connections: int, *, refusals: bool = False) -> float:
    """What was answered; `refusals`: there may be some, which do not count."""
    found = wrk(port, script, connections, refusals=refusals)
    return _number(r"Requests/sec:\s+([\d.]+)", found) - _number(r"responses: (\d+)", found) / ROUND_S


def _number(pattern: str, told: str) -> float:
    found = re.search(pattern, told)
    return float(found[1]) if found else 0.0


def p50_us(port: int, script: Path) -> float:
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms)", wrk(port, script, 1)).groups()  # type: ignore[union-attr]
    return float(value) * (1000 if unit == "ms" else 1)


def wrk(port: int, script: Path, connections: int, *, refusals: bool = False) -> str:
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{ROUND_S}s", "--latency", "-s", str(script)]
    found = subprocess.run([*command, f"http://127.0.0.1:{port}/predict"], check=True, capture_output=True, text=True)
    if ("Non-2xx" in found.stdout and not refusals) or "Socket errors" in found.stdout:
        raise SystemExit(f"wrk saw failures:\n{found.stdout}")
    return found.stdout


def lua(path: Path, body: bytes, route: str = "/predict", **headers: str) -> Path:
    """What wrk sends; `content_type="..."` is a header."""
    body_file = path.with_suffix(".body")
    body_file.write_bytes(body)
    sent = {"content_type": "application/json"} | headers
    lines = [f'wrk.headers["{name.replace("_", "-")}"] = "{text}"' for name, text in sent.items()]
    lines += ['wrk.method = "POST"', f'wrk.path = "{route}"', f'wrk.body = io.open("{body_file}", "rb"):read("*a")']
    path.write_text("\n".join(lines))
    return path
