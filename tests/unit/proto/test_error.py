"""The error tree: stable codes, messages that list every violation."""

from __future__ import annotations

import inspect
import pickle

import pytest

from yinxin_proto import error
from yinxin_proto.error import InvalidArgumentError, Violation, YinxinError

CLASSES = [
    kind for _, kind in inspect.getmembers(error, inspect.isclass) if issubclass(kind, YinxinError)
]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all("code" in vars(kind) for kind in CLASSES)


def test_the_tree_drawn_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = [
        line.split("── ")[1].split()[0]
        for line in inspect.getdoc(error).splitlines()  # type: ignore[union-attr]
        if "── " in line
    ]
    assert sorted(drawn) == sorted(kind.__name__ for kind in CLASSES if kind is not YinxinError)


def test_the_reason_is_the_code_unless_one_is_given() -> None:
    assert InvalidArgumentError("no").reason == "INVALID_ARGUMENT"
    assert InvalidArgumentError("no", reason="NUMBER_DATE").reason == "NUMBER_DATE"


def test_the_text_names_every_violation() -> None:
    raised = InvalidArgumentError(
        "the request is not acceptable",
        violations=[Violation("type", "is unknown"), Violation("holders[1].number", "is short")],
    )
    assert str(raised) == (
        "the request is not acceptable (type: is unknown; holders[1].number: is short)"
    )
    assert [v.reason for v in raised.violations] == ["INVALID", "INVALID"]


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_the_way_between_processes(kind: type[YinxinError]) -> None:
    raised = kind("no", reason="WHY", violations=[Violation("field", "is wrong", "R")])
    again = pickle.loads(pickle.dumps(raised))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (again.message, again.reason, again.violations) == ("no", "WHY", raised.violations)
