"""Where a setting comes from, and what is no setting."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.errors import NotFound, SettingError
from scoreline.settings import PREFIX, Settings, load_settings, options

KEY = "a-key-of-at-least-24-characters"


def value_of(settings: Settings, name: str) -> Any:
    section, _, key = name.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, key)


def written(folder: Path, text: str) -> Path:
    file = folder / "some.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "toml", "in_file", "text", "in_environment", "flag"),
    (
        ("server.port", "[server]\nport = 9001", 9001, "9002", 9002, 9003),
        ("server.host", '[server]\nhost = "::1"', "::1", "localhost", "localhost", "127.0.0.2"),
        ("state_dir", 'state_dir = "here"', "here", "there", "there", "elsewhere"),
        ("trust.keys", '[trust]\nkeys = ["a", "b"]', ("a", "b"), "c.pub, d.pub,", ("c.pub", "d.pub"), ("e",)),
        ("access.anonymous", '[access]\nanonymous = ["read"]', ("read",), "predict", ("predict",), ("predict", "read")),
        ("records.segment_bytes", "[records]\nsegment_bytes = 4096", 4096, "8192", 8192, 16384),
        ("rollout.p_tol", "[rollout]\np_tol = 0.02", 0.02, "3e-2", 0.03, 0.04),
        ("rollout.r1", "[rollout]\nr1 = 3", 3.0, "4", 4.0, 5),
        ("rollout.steps", "[rollout]\nsteps = [0.5, 1]", (0.5, 1.0), "0.2, 1", (0.2, 1.0), (1.0,)),
    ),
)
def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path, name: str, toml: str, in_file: Any, text: str, in_environment: Any, flag: Any
) -> None:
    file = written(tmp_path, toml)
    environment = {PREFIX + name.upper().replace(".", "__"): text}
    default = value_of(Settings(), name)
    assert value_of(load_settings(file, {}), name) == in_file != default
    assert value_of(load_settings(file, environment), name) == in_environment
    assert value_of(load_settings(file, environment, {name: None}), name) == in_environment
    assert value_of(load_settings(file, environment, {name: flag}), name) == flag
    assert value_of(load_settings(file, {}, {name: flag}), name) == flag


def test_without_anything_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {"PATH": "/bin", "SCORELINES": "x"}) == Settings()


def test_the_file_is_the_one_given_else_scoreline_config_else_scoreline_toml_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("scoreline.toml", "named.toml", "given.toml"), start=1):
        (tmp_path / name).write_text(f"[server]\nworkers = {place}")
    named = {"SCORELINE_CONFIG": "named.toml"}
    assert load_settings(None, {}).server.workers == 1
    assert load_settings(None, {"SCORELINE_CONFIG": ""}).server.workers == 1
    assert load_settings(None, named).server.workers == 2
    assert load_settings(Path("given.toml"), named).server.workers == 3


@pytest.mark.parametrize("given", (True, False))
def test_a_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=r"nowhere\.toml"):
        load_settings(Path("nowhere.toml") if given else None, {"SCORELINE_CONFIG": "nowhere.toml"})


@pytest.mark.parametrize(
    "toml",
    (
        "prot = 1",
        "[server]\nprot = 1",
        "[servers]\nport = 1",
        "server = 1",
        "[server.more]\nport = 1",
        "[[server]]\nport = 1",
        '"server.port" = 1\n[server]\nhost = "x"\nnone = 1',
        "[nothing]",
    ),
)
def test_an_unknown_key_in_the_file_is_an_error(tmp_path: Path, toml: str) -> None:
    with pytest.raises(SettingError):
        load_settings(written(tmp_path, toml), {})


@pytest.mark.parametrize("name", ("SERVER__PROT", "SERVICE__PORT", "SERVER__PORT__X"))
def test_an_unknown_key_in_the_environment_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="unknown setting"):
        load_settings(written(tmp_path, ""), {PREFIX + name: "1"})


@pytest.mark.parametrize("name", ("SERVICE_HOST", "PORT", "PORT_8000_TCP_ADDR", "DATA", ""))
def test_what_kubernetes_and_others_put_into_the_environment_is_passed_over(tmp_path: Path, name: str) -> None:
    assert load_settings(written(tmp_path, ""), {PREFIX + name: "tcp://10.0.0.1:8000"}) == Settings()


def test_an_unknown_flag_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"server\.prot"):
        load_settings(written(tmp_path, ""), {}, {"server.prot": 1})


@pytest.mark.parametrize("toml", ("port = ", "[server", '"', "a = 1\na = 2"))
def test_what_is_not_toml_is_an_error(tmp_path: Path, toml: str) -> None:
    with pytest.raises(SettingError, match="is not TOML"):
        load_settings(written(tmp_path, toml), {})


def test_bytes_that_are_no_text_and_a_folder_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "binary.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError):
        load_settings(file, {})
    with pytest.raises((SettingError, NotFound)):
        load_settings(tmp_path, {})


@pytest.mark.parametrize(
    ("name", "value"),
    (
        ("server.port", '"many"'),
        ("server.port", "1.5"),
        ("server.port", "true"),
        ("server.port", "[1]"),
        ("server.host", "1"),
        ("server.host", "false"),
        ("state_dir", "7"),
        ("trust.keys", "[1]"),
        ("trust.keys", "7"),
        ("access.anonymous", '["all"]'),
        ("access.admin_key", '"short"'),
        ("access.admin_key", '"a-key-of-24-characters-ä"'),
        ("server.tls_cert", '"a.crt"'),  # without a key
        ("server.tls_key", '"a.key"'),
        ("server.hosts", '["http://scores.example"]'),
        ("server.trusted_proxies", '["10.0.0.1/8"]'),
        ("server.trusted_proxies", '["proxy.example"]'),
        ("server.forwarded_header", '"x-real-ip"'),
        ("oauth.issuer", '"https://issuer.example/"'),  # without the others
        ("oauth.jwks_url", '"https://issuer.example/jwks"'),
        ("oauth.algorithms", '["HS256"]'),
        ("oauth.algorithms", '["none"]'),
        ("oauth.algorithms", "[]"),
        ("oauth.leeway_s", "301"),
        ("oauth.refresh_s", "1"),
        ("oauth.max_age_s", "300"),
        ("oauth.scope_claim", '""'),
        ("server.max_rows", "1048577"),
        ("server.workers", "0"),
        ("server.max_rows", "0"),
        ("server.max_body_bytes", "0"),
        ("server.keep_alive_s", "0"),
        ("server.drain_ms", "-1"),
        ("server.drain_delay_ms", "-1"),
        ("server.port", "-1"),
        ("server.port", "65536"),
        ("server.admin_port", "70000"),
        ("records.segment_bytes", "1"),
        ("records.segment_bytes", "99999999999"),
        ("records.retention_days", "-1"),
        ("records.archive_days", "0"),
        ("notify.webhook", '"http://hooks.example/x"'),
        ("notify.webhook", '"ftp://127.0.0.1/x"'),
        ("notify.webhook", '"https://"'),
        ("notify.webhook", '"https://hooks.example/a b"'),
        ("notify.webhook", '"https://hooks.example:x/"'),
        ("notify.webhook", '"https://hooks.example/x"'),  # without a secret
        ("notify.secret", '"a-secret-of-24-characters"'),  # without a webhook
        ("rollout.steps", "0.1"),
        ("rollout.steps", "[]"),
        ("rollout.steps", "[0.5]"),
        ("rollout.steps", "[0.5, 0.1, 1.0]"),
        ("rollout.steps", "[0.0, 1.0]"),
        ("rollout.steps", '["x", 1.0]'),
        ("rollout.steps", "[nan, 1.0]"),
        ("rollout.alpha_rollback", "0"),
        ("rollout.alpha_rollback", "nan"),
        ("rollout.alpha_rollback", "true"),
        ("rollout.alpha_advance", '"much"'),
        ("rollout.r1", "1"),
        ("rollout.hold_back", "1.0"),
        ("rollout.quote_days", "31"),
        ("rollout.loss", '"mse"'),
    ),
)
def test_a_value_of_another_type_or_out_of_range_is_an_error_that_names_the_setting(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingError, match=name.replace(".", r"\.")):
        load_settings(written(tmp_path, f"{name} = {value}"), {})


@pytest.mark.parametrize("text", ("", "x", "1.0", "0x10", "1,2"))
def test_text_that_is_no_number_is_an_error_in_the_environment(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match=r"server\.port"):
        load_settings(written(tmp_path, ""), {"SCORELINE_SERVER__PORT": text})


def test_an_error_about_the_secret_does_not_repeat_it(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load_settings(written(tmp_path, ""), {"SCORELINE_ACCESS__ADMIN_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_every_option_has_a_help_a_default_of_its_type_and_a_unit_where_it_measures() -> None:
    for name, field in options():
        assert field.metadata["help"].endswith("."), name
        assert isinstance(field.default, int | float | str | tuple), name
        if type(field.default) is int:
            counts = ("port", "workers", "max_rows", "requests", "connections")
            assert name.endswith(("_ms", "_s", "_days", "_bytes", *counts)), f"{name} does not say its unit"


def test_settings_never_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server.port = 1  # type: ignore[misc]


@given(st.sampled_from([name for name, _ in options()]), st.text(st.characters(codec="utf-8"), max_size=12))
def test_any_text_in_the_environment_is_a_value_or_a_setting_error(name: str, text: str) -> None:
    environment = {"SCORELINE_CONFIG": "/dev/null", PREFIX + name.upper().replace(".", "__"): text}
    try:
        found = value_of(load_settings(None, environment), name)
    except SettingError:
        return
    assert type(found) is type(value_of(Settings(), name))


def test_the_admin_key_is_read_and_never_shown() -> None:
    found = load_settings(Path("/dev/null"), {"SCORELINE_ACCESS__ADMIN_KEY": KEY})
    assert found.access.admin_key == KEY
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nprot = 1\n", r"unknown setting 'server\.prot'"),
        ("[sever]\nport = 1\n", "unknown setting 'sever'"),
        ("port = 1\n", "unknown setting 'port'"),
        ('[server]\nport = "x"\n', r"server\.port: a whole number"),
        ("[server]\nport = 1.5\n", r"server\.port: a whole number"),
        ("[server]\nport = true\n", r"server\.port: a whole number"),
        ("[server]\nhost = 1\n", r"server\.host: a text"),
        ("[server]\nworkers = 0\n", r"server\.workers: at least 1"),
        ("[trust]\nkeys = [1]\n", r"trust\.keys: a list of texts"),
        ('[access]\nanonymous = ["root"]\n', "unknown scope 'root'"),
        ('[access]\nadmin_key = "short"\n', "at least 24 characters"),
        ("[records]\nsegment_bytes = 1\n", "between 4 KiB and 4 GiB"),
        ('[limits]\nper_caller = "100"\n', r"limits\.per_caller: as 100/second"),
        ('[limits]\nredis = "localhost:6379"\n', r"limits\.redis: a URL as redis://"),
        ('[limits]\nredis = "redis://"\n', r"limits\.redis: a URL as redis://"),
        ("[limits]\nredis_ms = 0\n", r"limits\.redis_ms: between 1 and 1000"),
        ("[limits]\nkeys_max_bytes = 1\n", r"limits\.keys_max_bytes: at least 1 MiB"),
        ("[server\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_with_what_would_be_right(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SettingError, match=problem):
        load_settings(written(tmp_path, text), {})


def test_variables_of_others_with_our_prefix_are_no_settings(tmp_path: Path) -> None:
    """Kubernetes gives every pod such names of a service called scoreline."""
    environment = {"SCORELINE_DATA": "x", "SCORELINE_WITHOUT": "docker", "SCORELINE_PORT_8000_TCP": "tcp://10.0.0.1"}
    environment |= {"SCORELINE_PORT": "tcp://10.0.0.1:8000", "SCORELINE_SERVICE_HOST": "10.0.0.1"}
    assert load_settings(written(tmp_path, ""), environment) == Settings()


def test_a_callers_defaults_go_before_the_settings_own_and_behind_everything_given(tmp_path: Path) -> None:
    file = tmp_path / "scoreline.toml"
    file.write_text('[server]\nhost = "127.0.0.1"\n')
    defaults = {"server.host": "0.0.0.0", "server.port": 8080, "server.csv_header": False}
    server = load_settings(file, {"SCORELINE_SERVER__PORT": "9000"}, {}, defaults).server
    assert (server.host, server.port, server.csv_header) == ("127.0.0.1", 9000, False)


@pytest.mark.parametrize("url", ("redis://:secret@redis.example:6379/0", "rediss://h", "unix:///run/redis.sock"))
def test_a_redis_is_named_by_its_url_which_is_shown_nowhere(tmp_path: Path, url: str) -> None:
    found = load_settings(written(tmp_path, ""), {"SCORELINE_LIMITS__REDIS": url})
    assert found.limits.redis == url
    assert url not in repr(found)


@pytest.mark.parametrize(
    "url", ("https://hooks.example/x?y=1", "http://127.0.0.1:9/x", "http://[::1]/", "http://localhost")
)
def test_a_webhook_is_told_over_https_or_on_this_machine(tmp_path: Path, url: str) -> None:
    given = {"SCORELINE_NOTIFY__WEBHOOK": url, "SCORELINE_NOTIFY__SECRET": "a-secret-of-24-characters"}
    found = load_settings(written(tmp_path, ""), given)
    assert found.notify.webhook == url
    assert url not in repr(found) and "a-secret" not in repr(found)
    with pytest.raises(SettingError, match=r"notify\.secret: at least 24"):
        load_settings(written(tmp_path, ""), {**given, "SCORELINE_NOTIFY__SECRET": "short"})


@pytest.mark.parametrize(
    ("url", "safe"),
    (
        ("https://issuer.example/jwks", True),
        ("http://127.0.0.1:8080/jwks", True),
        ("http://issuer.example/jwks", False),
        ("http://127.0.0.1.evil.example/jwks", False),
        ("http://localhost@evil.example/jwks", False),
        ("file:///etc/passwd", False),
        ("ftp://127.0.0.1/jwks", False),
    ),
)
def test_keys_of_an_issuer_come_over_https_or_from_this_machine(tmp_path: Path, url: str, safe: bool) -> None:
    given = {"SCORELINE_OAUTH__ISSUER": "i", "SCORELINE_OAUTH__AUDIENCE": "a", "SCORELINE_OAUTH__JWKS_URL": url}
    if safe:
        assert load_settings(written(tmp_path, ""), given).oauth.jwks_url == url
    else:
        with pytest.raises(SettingError, match=r"oauth\.jwks_url: an https URL"):
            load_settings(written(tmp_path, ""), given)
