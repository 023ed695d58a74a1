"""REFs: how a version of a model is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import NotFound
from scoreline.core.refs import Ref, is_path

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
tails = st.just("") | names.map("@{}".format) | names.map("/{}".format)


@given(st.from_regex(r"[a-z]{1,8}", fullmatch=True), names, tails)
def test_text_of_a_parsed_ref_is_the_text_it_came_from(scheme: str, name: str, tail: str) -> None:
    text = f"{scheme}:/{name}{tail}"
    assert str(Ref.parse(text)) == text
    assert not is_path(text)


def test_parts_of_a_ref() -> None:
    assert Ref.parse("folder:/fraud") == Ref("folder", "fraud")
    assert Ref.parse("folder:/fraud@champion") == Ref("folder", "fraud", alias="champion")
    assert Ref.parse("models:/fraud/3") == Ref("models", "fraud", version="3")


@pytest.mark.parametrize(
    "text",
    [
        *("", "fraud", "folder:/", "folder://fraud", "folder:/../etc", "folder:/a/b/c", "folder:/a@b/c"),
        *("folder:/a b", "folder:/a/", "folder:/a@", "FOLDER:/a", "folder:/a\n"),
    ],
)
def test_what_is_no_ref_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(NotFound, match="folder:/NAME"):
        Ref.parse(text)


def test_a_name_that_only_its_registry_allows_is_no_path_and_told_what_names_have() -> None:
    assert not is_path("models:/My Churn/1")
    with pytest.raises(NotFound, match="a name has letters, digits"):
        Ref.parse("models:/My Churn/1")


def test_what_has_the_form_of_a_registry_is_no_path_even_where_such_a_folder_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_path("bundles/fraud-1")
    assert is_path("/var/bundles/fraud-1")
    assert not is_path("folder:/fraud")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder:").mkdir()
    (tmp_path / "folder:" / "fraud").mkdir()
    assert not is_path("folder:/fraud")
