"""Apart: a module runs in a limited process of its own, bytes in and bytes out, and may die there.

A signature says who made a file, not that a library survives reading it.
"""

import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from scoreline.core.bundle import SIGNATURE
from scoreline.core.errors import ScorelineError

CPU_S: Final = 60
PATIENCE_S: Final = 120
LEAST_BYTES: Final = 4 << 30
BYTES_PER_BYTE: Final = 16
MAX_ANSWER_BYTES: Final = 16 << 20
MAX_REFUSAL_BYTES: Final = 2000
PIECE_BYTES: Final = 1 << 20
_DONE: Final = 0
_REFUSED: Final = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended: with code 0 and its `answer`; with 1 and a `refusal` in one line; by a signal (negative).

    `code` is None where it was not over in time, or said more than it may; it is not running any more then.
    """

    code: int | None
    answer: bytes = b""
    refusal: str = ""


def run_apart(module: str, *arguments: str, given: bytes = b"", patience_s: float = PATIENCE_S) -> Ended:
    """Runs `python -m module` to its end, `given` on its standard input; whatever it does, this process goes on.

    The module's own part is `answer_apart`.
    """
    deadline_s = time.monotonic() + patience_s
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],  # -P: no module of the working directory
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a library in trouble may write whatever it likes, for as long as it likes
        start_new_session=True,  # what it starts itself ends with it
    )
    try:
        threading.Thread(target=_write, args=(process.stdin, given), daemon=True).start()
        said = _read(process.stdout, deadline_s)
        code = process.wait(max(0.0, deadline_s - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        return Ended(None)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    return Ended(code, answer=said) if code != _REFUSED else Ended(code, refusal=_one_line(said))


def answer_apart(act: Callable[[], bytes], cpu_s: int, n_bytes: int) -> int:
    """In the process apart: limits it, acts, answers; the exit code. What libraries print meanwhile is no answer."""
    for kind, most in (
        (resource.RLIMIT_AS, n_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "wb") as answer:
        try:
            answer.write(act())
        except ScorelineError as error:
            answer.write(str(error).encode("utf-8", "replace")[:MAX_REFUSAL_BYTES])
            return _REFUSED
    return _DONE


def memory_for(bundle: Path, least_bytes: int = LEAST_BYTES) -> int:
    """How many bytes a process may take that loads a bundle."""
    size = sum(file.stat().st_size for file in bundle.iterdir() if file.name != SIGNATURE)
    return max(least_bytes, BYTES_PER_BYTE * size)


def _write(to_it: IO[bytes] | None, given: bytes) -> None:
    """In a thread: a process that does not read what it is given holds nobody up."""
    if to_it is not None:
        with suppress(OSError), to_it:
            to_it.write(given)


def _read(from_it: IO[bytes] | None, deadline_s: float) -> bytes:
    """All it says until nobody can say more; raises TimeoutError, for too much of it too."""
    assert from_it is not None
    poll, said = select.poll(), b""
    poll.register(from_it, select.POLLIN)
    while len(said) <= MAX_ANSWER_BYTES:
        if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
            break
        piece = os.read(from_it.fileno(), PIECE_BYTES)
        if not piece:
            return said
        said += piece
    raise TimeoutError


def _one_line(raw: bytes) -> str:
    """What the process said, as it can stand in a log: a library's own words may repeat bytes of the model."""
    return "".join(char if char.isprintable() else "?" for char in raw.decode("utf-8", "replace").strip())
