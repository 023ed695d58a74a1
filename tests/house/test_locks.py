"""What is installed is locked: by name, version and hash, and without addresses."""

import re
from pathlib import Path

import pytest

from service import REPOSITORY

LOCKS = sorted((REPOSITORY / "requirements").glob("*.txt"))


def requirements(lock: Path) -> dict[str, str]:
    """Name to the whole text of each requirement, continued lines joined."""
    joined = re.sub(r"\\\n", " ", lock.read_text())
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {}
    for line in lines:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", line)
        assert match, f"{lock.name}: {line[:60]!r} is not locked to a version"
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        found[name] = found.get(name, "") + line
    return found


def test_there_are_locks() -> None:
    assert {lock.name for lock in LOCKS} >= {"build.txt", "dev.txt", "image.txt", "image-mlflow.txt", "tools.txt"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_requirement_is_hashed_and_none_has_an_address(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"[a-z+]+://|(^|\s)-(i|f|e)\b|--(index-url|extra-index-url|find-links|trusted-host)", text)
    assert " @ " not in text
    found = requirements(lock)
    assert found
    assert [name for name, line in found.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", line)] == []


def test_xgboost_is_locked_once_and_as_xgboost_cpu() -> None:
    """Both names install the same package: together, the later one overwrites the other."""
    for lock in LOCKS:
        assert "xgboost" not in requirements(lock), lock.name
    for name in ("image.txt", "dev.txt"):
        assert "xgboost-cpu" in requirements(REPOSITORY / "requirements" / name)


def test_pandas_is_older_than_3() -> None:
    locked = [re.search(r"pandas==(\d+)", requirements(lock).get("pandas", "")) for lock in LOCKS]
    versions = [int(found[1]) for found in locked if found]
    assert "pandas" in requirements(REPOSITORY / "requirements" / "dev.txt")
    assert all(version < 3 for version in versions)


def test_what_serves_locks_none_of_what_only_trains() -> None:
    names = requirements(REPOSITORY / "requirements" / "image.txt")
    assert {"pandas", "scikit-learn", "mlflow", "model-signing", "onnx", "pytest"}.isdisjoint(names)
