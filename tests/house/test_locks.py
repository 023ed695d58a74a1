"""The locks: hashes, no addresses, one XGBoost."""

import re
from pathlib import Path

import pytest

LOCKS = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))


def locked(path: Path) -> dict[str, set[str]]:
    """Name to the versions a lock has of it."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE):
        found.setdefault(name.lower().replace("_", "-"), set()).add(version)
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_is_hashed_and_none_has_an_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|-e)\b", text, re.MULTILINE)
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if re.match(r"[A-Za-z0-9._-]+==", block):
            assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_only_one_of_the_two_packages_that_install_xgboost_is_locked(path: Path) -> None:
    assert "xgboost" not in locked(path)


def test_pandas_stays_below_3() -> None:
    for path in LOCKS:
        for version in locked(path).get("pandas", ()):
            assert int(version.split(".")[0]) < 3


def test_xgboost_cpu_and_pandas_are_what_the_tests_run_on() -> None:
    dev = locked(next(path for path in LOCKS if path.name == "dev.txt"))
    assert "xgboost-cpu" in dev
    assert "pandas" in dev
