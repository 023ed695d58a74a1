"""In CI a test that is skipped has failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service import REPOSITORY

TESTS = """
import pytest

def test_passes(): ...

def test_skips_itself():
    pytest.skip("no data")

@pytest.mark.skip(reason="never")
def test_is_marked(): ...

@pytest.fixture
def nothing():
    pytest.skip("no fixture")

def test_has_no_fixture(nothing): ...
"""


@pytest.mark.parametrize("tests", (TESTS, 'import pytest\npytest.importorskip("a_module_that_is_not")'))
def test_a_skip_fails_in_ci_and_only_there(tmp_path: Path, tests: str) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path)
    (tmp_path / "service.py").write_text("SealedModel = seal_churn = seal_fraud = None")  # no model is needed here
    (tmp_path / "test_some.py").write_text(tests)

    def outcome(ci: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "."]
        environment = {**os.environ, "CI": ci}
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        return ended.returncode, ended.stdout.strip().splitlines()[-1]

    code, counted = outcome("")
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "skipped" in counted
    code, counted = outcome("true")
    assert code in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert "skipped" not in counted
