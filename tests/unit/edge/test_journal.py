"""Every number here is invented; the citizen's was born in 1885 and belongs to nobody."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock
from yinxin_edge.journal import REDACTED, Journal, JournalHandler, redact

CITIZEN = "35030218850315001X"
FULL_WIDTH = "３５０３０２１８８５０３１５００１Ｘ"
CREDIT_CODE = "91350300MA0000000X"


def _write(level: str, event: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    stream = io.StringIO()
    getattr(Journal(clock=FixedClock(), stream=stream), level)(event, **fields)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    return dict(json.loads(lines[0]))


def test_an_event_is_one_line_of_json() -> None:
    assert _write("info", "started", workers=2, address="127.0.0.1:1", note="第一行\n第二行") == {
        "time": "2026-01-01T00:00:00.000+00:00",
        "level": "info",
        "event": "started",
        "workers": 2,
        "address": "127.0.0.1:1",
        "note": "第一行\n第二行",
    }


@pytest.mark.parametrize(
    "number",
    [
        CITIZEN,
        CITIZEN.lower(),
        FULL_WIDTH,
        "350302 18850315 001X",
        "350302-18850315-001X",
        CREDIT_CODE,
        CREDIT_CODE.lower(),
    ],
)
@pytest.mark.parametrize("around", ["{}", "身份证{}号", "no={},", "n\n{}\n", '"{}"', "a.{}.b"])
def test_what_looks_like_a_number_is_dropped(number: str, around: str) -> None:
    text = around.format(number)
    assert redact(text) == around.format(REDACTED)
    line = json.dumps(
        _write("warning", "seen", text=text, inside={"deep": [text]}, kéy=(text,)),
        ensure_ascii=False,
    )
    assert number not in line


def test_a_number_is_dropped_also_as_an_integer_a_key_or_deep_down() -> None:
    number = int(CITIZEN.replace("X", "1"))
    line = json.dumps(_write("info", "x", a=number, b={CITIZEN: 1}, c=[[[[[[CITIZEN]]]]]]))
    assert str(number) not in line
    assert CITIZEN not in line


def test_a_number_in_a_traceback_is_dropped() -> None:
    try:
        raise ValueError(f"cannot store {CITIZEN}")
    except ValueError as error:
        written = _write("error", "failed", error=error)
    assert "ValueError: cannot store [redacted]" in written["error"]
    assert "Traceback" in written["error"]


@pytest.mark.parametrize("key", ["passphrase", "token", "number", "private_key"])
def test_a_field_that_should_not_be_here_is_dropped(key: str) -> None:
    assert _write("info", "x", **{key: "anything"})[key] == REDACTED
    assert _write("info", "x", fields={key: "anything"})["fields"][key] == REDACTED


@pytest.mark.parametrize(
    "harmless",
    ["11100000MB03271699001", "a" * 64, "2026-01-01T00:00:00.000", "1234567890123456", "印信"],
)
def test_what_is_no_number_stays(harmless: str) -> None:
    assert redact(harmless) == harmless


def test_a_long_text_is_cut_after_redaction() -> None:
    written = _write("info", "x", text="a" * 8185 + CITIZEN)
    assert len(written["text"]) <= 8193
    assert "3503" not in written["text"]


def test_bound_fields_are_on_every_line() -> None:
    stream = io.StringIO()
    journal = Journal(clock=FixedClock(), stream=stream)
    journal.bind(worker="w1").info("a", n=1)
    journal.info("b")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["worker"] == "w1"
    assert "worker" not in second


def test_what_libraries_log_is_carried_and_redacted() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("test_journal")
    logger.propagate = False
    logger.addHandler(JournalHandler(Journal(clock=FixedClock(), stream=stream)))
    logger.info("nothing")
    logger.warning("row of %s", CITIZEN)
    try:
        raise KeyError(CITIZEN)
    except KeyError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["text"]) == ("warning", "row of [redacted]")
    assert second["level"] == "error"
    assert CITIZEN not in stream.getvalue()


@given(st.text(), st.recursive(st.integers() | st.text(), st.lists, max_leaves=5))
def test_anything_can_be_journalled(text: str, value: object) -> None:
    _write("info", text, value=value, text=text)
