"""What is to come of an operation, as an officer reads it before signing.

The signature commits to the outcome by its digest alone. Whatever of it an
officer is not shown, whoever prepared the file chose alone: another person's
key under a colleague's name, another root than the one in the hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from yinxin_proto.error import MalformedError
from yinxin_proto.keyrecord import KeyRecord
from yinxin_proto.logkey import FrozenHead, as_certificate
from yinxin_proto.member import Members
from yinxin_proto.operation import Action
from yinxin_proto.operationfile import OperationFile
from yinxin_proto.strict import Json

Row = tuple[str, object]
"""A row's name, and what is in it."""
_MAX_SHOWN: Final = 2000
"""Characters of an outcome that has no rows of its own."""
_WHERE: Final = "outcome"
_MAX_CERTIFICATES: Final = 64
_SUITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def outcome_rows(wanted: OperationFile) -> list[Row]:
    """Return what comes of an operation; empty where it commits to nothing more.

    Raises:
        MalformedError: An outcome that is none of this action: do not sign it.
    """
    shown = _ROWS.get(wanted.operation.action)
    if shown is not None:
        return list(shown(wanted.outcome))
    if wanted.outcome == {}:
        return []
    # ASCII alone: nothing in it moves a cursor or turns a line around.
    text = json.dumps(wanted.outcome, sort_keys=True)
    if len(text) > _MAX_SHOWN:
        raise MalformedError(
            "operation: too much comes of it to be read; do not sign it", reason="OUTCOME"
        )
    return [("outcome", text)]


def _compromise(outcome: Json) -> Iterator[Row]:
    record = KeyRecord.from_json(outcome, _WHERE)
    if record.pin is None:
        return
    pin = record.pin
    again = sum(end - start for start, end in pin.reattested)
    yield "stop", pin.n_stop
    yield "root", pin.root.hex()
    yield "safe", pin.n_safe
    yield "reattested", again
    yield "lost", pin.n_stop - pin.n_safe - again


def _freeze(outcome: Json) -> Iterator[Row]:
    head = FrozenHead.from_json(outcome, _WHERE)
    yield "stop", head.size
    yield "root", head.root.hex()


def _officer(outcome: Json) -> Iterator[Row]:
    members = Members(outcome, _WHERE, ("suite", "thumbprint"))
    yield "suite", members.text("suite", _SUITE)
    # The whole of what the list of officers shows the beginning of.
    yield "key", members.text("thumbprint", _DIGEST)


def _withdraw(outcome: Json) -> Iterator[Row]:
    members = Members({"left": outcome}, _WHERE, ("left",))
    left = members.each("left", as_certificate, max_items=_MAX_CERTIFICATES)
    yield "left", len(left)
    for der in left:
        yield "certificate", _digest(der)


def _root(outcome: Json) -> Iterator[Row]:
    # Of the parallel root, nothing may take its place.
    yield "certificate", "-" if outcome is None else _digest(as_certificate(outcome, _WHERE))


def _digest(der: bytes) -> str:
    return sha256(der).hexdigest()


_ROWS: Final[Mapping[Action, Callable[[Json], Iterator[Row]]]] = MappingProxyType(
    {
        Action.COMPROMISE_KEY: _compromise,
        Action.FREEZE_LOG: _freeze,
        Action.ADD_OFFICER: _officer,
        Action.WITHDRAW_ANCHOR: _withdraw,
        Action.REPLACE_ROOT: _root,
    }
)
