"""The hidden folder beside the target in which a job is worked on: it is what makes a job whole, and resumable.

    .TARGET.partial/
        job.lock                                held while a run works here
        job.json                                what the job is; another job may not go on with these parts
        00000-FIRST-LAST.arrow, .rejects.jsonl, .record.parquet
                                                finished parts of input 0: answers to the rows FIRST to LAST, rejects,
                                                and the decisions where they are to be kept
        done-00000.json, rejects-00000.jsonl    input 0 is finished, and its output is in outputs/
        outputs/, records/                      finished outputs, and the decisions they are made of

Every file gets its name once its bytes are on disk. Of a part the answers come last: they commit the others too.
"""

import fcntl
import filecmp
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import BatchRefused
from scoreline.operations.files import make_folder, sync, whole

_JOB: Final = "job.json"
_LOCK: Final = "job.lock"


@dataclass(frozen=True, slots=True)
class Part:
    """Finished rows `first` to `last` (half open) of one input."""

    path: Path
    first: int
    last: int

    @property
    def rejects(self) -> Path:
        return self.path.with_suffix(".rejects.jsonl")

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".record.parquet")


def partial_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


@contextmanager
def working_in(folder: Path, job: Mapping[str, Any], new_job: Iterable[Path]) -> Iterator[None]:
    """Holds the folder for one run of this job, made anew where there is none.

    Raises BatchRefused where another run is at work, the folder is of another job, or one of the paths `new_job` must
    find free exists.
    """
    make_folder(folder)
    fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(fd).st_ino == (folder / _LOCK).stat().st_ino
        except (BlockingIOError, FileNotFoundError):  # held by a run, or by one that has just removed its folder
            held = False
        if not held:
            raise BatchRefused(f"another run is at work in {folder}; wait for it or choose another target")
        _settle(folder, job, new_job)
        yield
    finally:
        os.close(fd)


def _settle(folder: Path, job: Mapping[str, Any], new_job: Iterable[Path]) -> None:
    try:
        begun = json.loads((folder / _JOB).read_bytes())
    except FileNotFoundError:
        begun = None
    except ValueError:
        begun = {}
    if begun is None:
        for path in new_job:
            if os.path.lexists(path):
                remove(folder)
                raise BatchRefused(f"{path} exists; nothing is overwritten: move it or choose another target")
        _empty(folder)
        write_json(folder / _JOB, job)
    elif begun != job:
        other = ", ".join(name for name in {**begun, **job} if begun.get(name) != job.get(name)) or "its form"
        raise BatchRefused(
            f"{folder} holds an unfinished job that differs in: {other}; delete that folder to start over, or choose "
            "another target"
        )


def remove(folder: Path) -> None:
    """Removes the folder of a job; from the first step on nothing in it counts any more."""
    (folder / _JOB).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    """Clears what a removal that was interrupted has left: it is of a job nobody knows."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    with whole(path) as temporary:
        temporary.write_text(json.dumps(found))


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote, None where it did not yet."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found


def part_path(folder: Path, number: int, first: int, last: int) -> Path:
    return folder / f"{number:05d}-{first:014d}-{last:014d}.arrow"


def finished_parts(folder: Path, number: int) -> list[Part]:
    """The finished parts of an input, from its first row on without a gap."""
    found: list[Part] = []
    for path in sorted(folder.glob(f"{number:05d}-*.arrow")):
        first, last = map(int, path.stem.split("-")[1:])
        if first == (found[-1].last if found else 0):
            found.append(Part(path, first, last))
    return found


def concatenate(paths: Iterable[Path], target: Path) -> bool:
    """Joins those of the files that exist into one, durably; False, and no file, where there are none."""
    present = [path for path in paths if path.exists()]
    if present:
        with whole(target) as temporary, temporary.open("wb") as joined:
            for path in present:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, joined)
    return bool(present)


def put(path: Path, target: Path) -> None:
    """Gives a finished file or folder its place, never over another; raises BatchRefused where there is one."""
    try:
        if path.is_dir():
            path.rename(target)
        else:
            os.link(path, target)
    except OSError as error:
        if os.path.lexists(target):
            if target.is_file() and path.is_file() and filecmp.cmp(path, target, shallow=False):
                return  # an earlier run came this far
            raise BatchRefused(f"{target} appeared meanwhile; nothing was overwritten") from None
        if path.is_dir():
            raise error
        path.rename(target)  # a file system without hard links
    sync(target.parent)


def put_anywhere(path: Path, target: Path) -> None:
    """The same for a target that may lie on another disk; nothing is done where an earlier run came this far."""
    if not os.path.lexists(path):
        if os.path.lexists(target):
            return
        raise BatchRefused(f"{target} was removed meanwhile; delete {path.parent} to start over")
    make_folder(target.parent)
    if _is_elsewhere(path, target.parent):
        copy = target.with_name(f".{target.name}.part")
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink(missing_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copyfile(path, copy)
        for file in (copy, *copy.rglob("*")):
            sync(file)
        put(copy, target)
        copy.unlink(missing_ok=True)
    else:
        put(path, target)


def _is_elsewhere(path: Path, folder: Path) -> bool:
    """Whether a folder is on another disk."""
    return path.stat().st_dev != folder.stat().st_dev
