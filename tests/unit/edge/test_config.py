from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_edge.config import load, load_file
from yinxin_proto.error import ConfigurationError


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Server:
    listen: str = "127.0.0.1:8443"
    threads: int = 16
    grace: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ConfigurationError("threads must be at least 1", reason="TOO_FEW")


@dataclass(frozen=True, kw_only=True)
class Peer:
    name: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    region: str
    folder: Path = Path("run")
    database: str | None = None
    verbose: bool = False
    suite: Literal["ES256", "SM2"] = "ES256"
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    server: Server = field(default_factory=Server)
    peers: tuple[Peer, ...] = ()


def _violations(toml: str, environment: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, toml, environment=environment)
    return {v.field: (v.reason, v.description) for v in caught.value.violations}


def test_everything_absent_takes_its_default() -> None:
    assert load(Settings, 'region = "350300"') == Settings(region="350300")


def test_every_type_is_read_from_toml() -> None:
    toml = """
    region = "350300"
    folder = "/srv/region"
    database = "postgresql://h/d"
    verbose = true
    suite = "SM2"
    colour = "blue"
    tags = ["a", "b"]
    ports = [1, 2]
    [server]
    threads = 4
    grace = "200ms"
    [[peers]]
    name = "350400"
    weight = 2
    """
    assert load(Settings, toml) == Settings(
        region="350300",
        folder=Path("/srv/region"),
        database="postgresql://h/d",
        verbose=True,
        suite="SM2",
        colour=Colour.BLUE,
        tags=("a", "b"),
        ports=(1, 2),
        server=Server(threads=4, grace=timedelta(milliseconds=200)),
        peers=(Peer(name="350400", weight=2.0),),
    )


def test_the_environment_overrides_and_others_variables_are_left_alone() -> None:
    environment = {
        "YINXIN__REGION": "350300",
        "YINXIN__VERBOSE": "True",
        "YINXIN__PORTS": "1, 2",
        "YINXIN__SERVER__THREADS": "3",
        "YINXIN__SERVER__GRACE": "2m",
        "YINXIN_VECTORS": "elsewhere",
        "OTHER__REGION": "no",
    }
    loaded = load(Settings, 'region = "x"\n[server]\nthreads = 9', environment=environment)
    assert loaded == Settings(
        region="350300",
        verbose=True,
        ports=(1, 2),
        server=Server(threads=3, grace=timedelta(minutes=2)),
    )


def test_every_fault_is_named_at_once() -> None:
    found = _violations(
        'verbos = true\nsuite = "RSA"\ncolour = 3\nports = [1, "x"]\nfolder = 1\ntags = "a"\n'
        '[server]\ngrace = 10\nthreadz = 4\n[[peers]]\nweight = "heavy"'
    )
    assert {field: reason for field, (reason, _) in found.items()} == {
        "verbos": "UNKNOWN_KEY",
        "region": "MISSING_KEY",
        "suite": "WRONG_TYPE",
        "colour": "WRONG_TYPE",
        "ports[1]": "WRONG_TYPE",
        "folder": "WRONG_TYPE",
        "tags": "WRONG_TYPE",
        "server.grace": "WRONG_TYPE",
        "server.threadz": "UNKNOWN_KEY",
        "peers[0].name": "MISSING_KEY",
        "peers[0].weight": "WRONG_TYPE",
    }
    assert "verbose" in found["verbos"][1]
    assert "threads" in found["server.threadz"][1]


def test_a_variable_that_names_no_setting_is_refused_like_a_key() -> None:
    environment = {"YINXIN__REGION": "r", "YINXIN__SERVER__TREADS": "3"}
    assert "threads" in _violations("", environment)["server.treads"][1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("VERBOSE", "yes"), ("SERVER__THREADS", "many"), ("SERVER__GRACE", "10"), ("SERVER", "x")],
)
def test_a_variable_of_a_wrong_type_is_refused(name: str, value: str) -> None:
    found = _violations('region = "r"', {f"YINXIN__{name}": value})
    assert [reason for reason, _ in found.values()] == ["WRONG_TYPE"]


def test_a_dataclass_may_refuse_its_own_values() -> None:
    found = _violations('region = "r"\n[server]\nthreads = 0')
    assert found == {"server": ("TOO_FEW", "threads must be at least 1")}


def test_true_is_not_a_number_and_a_table_is_a_table() -> None:
    assert set(_violations('region = "r"\nserver = 1')) == {"server"}
    assert set(_violations('region = "r"\n[server]\nthreads = true')) == {"server.threads"}


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, 'region = 1\ndatabase = ["postgresql://u:secret@h"]')
    assert "secret" not in str(caught.value)


def test_a_file_is_read_and_its_absence_reported(tmp_path: Path) -> None:
    file = tmp_path / "region.toml"
    with pytest.raises(ConfigurationError) as caught:
        load_file(Settings, file)
    assert caught.value.reason == "CONFIGURATION_FILE"
    file.write_text('region = "莆田"', encoding="utf-8")
    assert load_file(Settings, file).region == "莆田"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_typed_error(text: str) -> None:
    try:
        load(Settings, text)
    except ConfigurationError as error:
        assert error.reason in {"TOML", "CONFIGURATION"}  # noqa: PT017 - either outcome is right
