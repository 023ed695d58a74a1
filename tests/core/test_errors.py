"""The errors: what they say to whoever meets them."""

import inspect

from scoreline.core import errors
from scoreline.core.errors import Problem, RecordRefused, RowsRefused, ScorelineError


def test_refused_rows_are_counted_once_however_many_problems_they_have() -> None:
    one = RowsRefused([Problem(0, "a", "is required"), Problem(0, "b", "is required")])
    many = RowsRefused([Problem(0, "a", "is required"), Problem(4, "b", "is required")])
    assert str(one) == "1 row breaks the model's schema; see `errors`"
    assert str(many) == "2 rows break the model's schema; see `errors`"
    assert len(one.problems) == 2


def test_refused_record_says_when_to_try_again() -> None:
    assert RecordRefused("the disk is full", retry_after_s=5).retry_after_s == 5


def test_every_error_is_in_the_tree_at_the_top_of_the_file_where_it_stands() -> None:
    """The drawing is the tree: same names, same parents."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines()[2:]:
        if not line.strip() or not line.strip()[0].isupper() or line.startswith("Messages"):
            continue
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        above = [(depth, parent) for depth, parent in above if depth < indent]
        drawn[name] = above[-1][1] if above else "Exception"
        above.append((indent, name))
    classes = {
        name: found.__bases__[0].__name__
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, ScorelineError)
    }
    assert drawn == classes
