"""What threads free is used again by others, and what a version leaves goes back to the system."""

import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from scoreline.operations.install import install
from scoreline.operations.state import Assignment, read_state, write_state
from service import FRAUD_ROW, SealedModel, serving, wait_until

ARENA_BYTES = 64 << 20  # glibc reserves as much for each arena beside the first, and puts it at a multiple
_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+)")
THREADS = """
    import sys, threading
    from scoreline.operations.memory import share_one_arena
    if sys.argv[1] == "shared":
        share_one_arena()
    kept = []
    threads = [threading.Thread(target=lambda: kept.append(bytearray(100_000))) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print("made", flush=True)
    sys.stdin.read()
"""
FREED = """
    import psutil
    from scoreline.operations.memory import give_back_freed_memory, keep_freed_memory
    keep_freed_memory()
    blocks = [bytearray(b"x" * 100_000) for _ in range(400)]
    last = blocks.pop()
    del blocks
    kept = psutil.Process().memory_info().rss
    give_back_freed_memory()
    print((kept - psutil.Process().memory_info().rss) >> 20)
"""


def n_arenas(pid: int) -> int:
    """Those beside the first: a part in use, and what is reserved behind it."""
    found = _RANGE.findall(Path(f"/proc/{pid}/maps").read_text())
    starts = {int(start, 16) for start, _, mode in found if mode == "rw-p" and int(start, 16) % ARENA_BYTES == 0}
    ends = {int(end, 16) for _, end, mode in found if mode == "---p"}
    return sum(1 for start in starts if start + ARENA_BYTES in ends)


@pytest.mark.parametrize("arenas", ("shared", "own"))
def test_threads_share_one_arena_only_where_it_was_asked_for(arenas: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(THREADS), arenas]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "made\n"
        assert (n_arenas(process.pid) == 0) == (arenas == "shared")


def test_a_service_has_one_arena_in_each_process_whatever_is_swapped(
    sealed: SealedModel, sealed_next: SealedModel, tmp_path: Path
) -> None:
    with serving(sealed, folder=tmp_path, forked=False) as service:
        install(str(sealed_next.folder), {}, sealed_next.trust, service.state_dir)
        for model in (sealed_next, sealed, sealed_next):
            assigned = Assignment(model.manifest.version, model.manifest.digest)
            write_state(service.state_dir, replace(read_state(service.state_dir), models={"fraud": assigned}))
            wait_until(
                lambda model=model: service.post(FRAUD_ROW).json()["version"] == model.manifest.version,
                "the version is swapped in",
            )
        assert [n_arenas(child.pid) for child in service.children()] == [0, 0, 0]


def test_what_is_freed_is_kept_until_it_is_given_back() -> None:
    command = [sys.executable, "-c", textwrap.dedent(FREED)]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout) >= 30
