"""No answered prediction is missing and none is there twice, whatever is killed; `make soak` kills a hundred times."""

from pathlib import Path
from typing import Any

import pytest

from killing import OF_POSTGRES, OF_SERVICE, run
from service import SealedModel

CASES = {"sqlite": OF_SERVICE, "postgresql": OF_SERVICE + OF_POSTGRES}


@pytest.mark.parametrize("kind", CASES)
def test_after_random_kills_every_answered_prediction_is_in_the_record_once(
    kind: str, sealed: SealedModel, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    postgres: Any = request.getfixturevalue("postgres") if kind == "postgresql" else None
    url = postgres.new_schema() if postgres else ""
    found = run(sealed, tmp_path, len(CASES[kind]), seed=1, url=url, postgres=postgres)
    assert found.kills == dict.fromkeys(CASES[kind], 1)
    assert found.told.requests.keys() == {"one row", "many rows", "v2"}
    assert found.told.outcomes and found.told.by_entity
    assert found.held == dict.fromkeys(found.held, 0)
