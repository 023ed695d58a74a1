"""Memory by files is the same for all who see the folder, begins with who counts there, and never ends a reader."""

import subprocess
import sys
from pathlib import Path

from scoreline.core.counts import N_BYTES, Counts
from scoreline.operations.shared import in_files


def test_another_process_reads_what_one_counts(tmp_path: Path) -> None:
    counts = Counts(in_files(tmp_path / "shared", anew=True)("worker-0", N_BYTES))
    counts.add("refusals", "fraud", "busy")
    program = (
        "import sys; from pathlib import Path; from scoreline.core.counts import *; from scoreline.operations.shared "
        "import in_files; print(Counts(in_files(Path(sys.argv[1]), anew=False)('worker-0', N_BYTES)).read())"
    )
    ended = subprocess.run([sys.executable, "-c", program, tmp_path / "shared"], capture_output=True, text=True)
    assert ended.stdout == "Counter({('refusals', 'fraud', 'busy'): 1})\n", ended.stderr


def test_who_counts_begins_at_zero_and_who_reads_follows(tmp_path: Path) -> None:
    Counts(in_files(tmp_path, anew=True)("keeper", N_BYTES)).add("process_ends", "worker")
    reader = Counts(in_files(tmp_path, anew=False)("keeper", N_BYTES))
    assert reader.read().total() == 1
    again = Counts(in_files(tmp_path, anew=True)("keeper", N_BYTES))
    assert not reader.read()
    again.add("process_ends", "worker")
    assert reader.read() == again.read()


def test_a_reader_may_come_first_and_a_file_is_whole_on_the_disk(tmp_path: Path) -> None:
    reader = Counts(in_files(tmp_path, anew=False)("worker-1", N_BYTES))
    assert not reader.read()
    found = (tmp_path / "worker-1").stat()
    assert (found.st_size, found.st_mode & 0o077) == (N_BYTES, 0)
    assert found.st_blocks * 512 >= N_BYTES
    in_files(tmp_path, anew=True)("worker-1", 8)
    assert (tmp_path / "worker-1").stat().st_size == N_BYTES
    Counts(in_files(tmp_path, anew=True)("worker-1", N_BYTES)).add("repeated", "fraud")
    assert reader.read() == {("repeated", "fraud"): 1}
