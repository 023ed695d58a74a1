"""Settings: which source goes first, and what is refused."""

from pathlib import Path

import pytest

from scoreline.core.errors import NotFound, SettingError
from scoreline.settings import load_settings


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scoreline.toml"
    path.write_text(text)
    return path


def test_a_flag_goes_before_the_environment_the_environment_before_the_file_the_file_before_the_default(
    tmp_path: Path,
) -> None:
    path = file(tmp_path, '[server]\nport = 1\nadmin_port = 1\nworkers = 7\n[access]\nanonymous = ["read"]\n')
    environment = {"SCORELINE_SERVER__PORT": "2", "SCORELINE_SERVER__ADMIN_PORT": "2"}
    found = load_settings(path, environment, {"server.port": 3, "server.host": None})
    assert (found.server.port, found.server.admin_port, found.server.workers) == (3, 2, 7)
    assert found.server.host == "127.0.0.1"
    assert found.access.anonymous == ("read",)
    assert load_settings(path, {"SCORELINE_ACCESS__ANONYMOUS": "predict, read"}).access.anonymous == ("predict", "read")


def test_the_file_is_the_flag_else_the_variable_else_scoreline_toml_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).server.port == 8000
    file(tmp_path, "[server]\nport = 1\n")
    assert load_settings(None, {}).server.port == 1
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 2\n")
    assert load_settings(None, {"SCORELINE_CONFIG": str(other)}).server.port == 2
    with pytest.raises(NotFound, match="no settings at"):
        load_settings(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nprot = 1\n", "unknown setting 'server.prot'"),
        ("[sever]\nport = 1\n", "unknown setting 'sever.port'"),
        ("port = 1\n", "unknown setting 'port'"),
        ('[server]\nport = "x"\n', "server.port: a whole number"),
        ("[server]\nport = 1.5\n", "server.port: a whole number"),
        ("[server]\nport = true\n", "server.port: a whole number"),
        ("[server]\nhost = 1\n", "server.host: a text"),
        ("[server]\nworkers = 0\n", "server.workers: at least 1"),
        ("[trust]\nkeys = [1]\n", "trust.keys: a list of texts"),
        ('[access]\nanonymous = ["root"]\n', "unknown scope 'root'"),
        ('[access]\nadmin_key = "short"\n', "at least 24 characters"),
        ("[records]\nsegment_bytes = 1\n", "between 4 KiB and 4 GiB"),
        ("[server\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        load_settings(file(tmp_path, text), {})


def test_an_unknown_variable_or_flag_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"unknown setting 'server\.prot'"):
        load_settings(None, {"SCORELINE_SERVER__PROT": "1"})
    with pytest.raises(SettingError, match="unknown setting 'prot'"):
        load_settings(None, {}, {"prot": 1})
    assert load_settings(None, {"SCORELINE_DATA": "x", "SCORELINE_WITHOUT": "docker"}).server.port == 8000
