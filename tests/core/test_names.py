"""Names of things loaded only when they are wanted."""

import pytest

from scoreline.core.names import load


def test_name_loads_what_it_points_to() -> None:
    assert load("collections:OrderedDict").__name__ == "OrderedDict"


def test_what_is_not_installed_says_so() -> None:
    with pytest.raises(ImportError):
        load("scoreline_has_no_such_module:Engine")
