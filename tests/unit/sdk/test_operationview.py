"""An officer sees what exactly is to come of what is signed."""

from __future__ import annotations

from hashlib import sha256

import pytest

from support.clock import FixedClock, SeededEntropy
from support.trust_list import trust_list
from yinxin.operationview import outcome_rows
from yinxin_proto.error import MalformedError
from yinxin_proto.operation import Action, new_operation
from yinxin_proto.operationfile import OperationFile
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.trustchange import parameters_of

STOLEN = trust_list().authorities[0].keys[1]
ROOT = trust_list().anchors.root


def _file(action: Action, outcome: Json) -> OperationFile:
    operation = new_operation(
        action,
        "target",
        parameters_of(outcome),
        region="350300",
        clock=FixedClock(),
        entropy=SeededEntropy(1),
    )
    return OperationFile(operation=operation, outcome=outcome)


@pytest.mark.parametrize(
    ("action", "outcome", "shown"),
    [
        # Whoever prepared the file could have put a key of his own under the name.
        (Action.ADD_OFFICER, {"suite": "ES256", "thumbprint": "ab" * 32}, "ab" * 32),
        (Action.REPLACE_ROOT, b64url_encode(ROOT), sha256(ROOT).hexdigest()),
        (Action.REPLACE_ROOT, None, "-"),
        (Action.WITHDRAW_ANCHOR, [b64url_encode(ROOT)], sha256(ROOT).hexdigest()),
        (Action.WITHDRAW_ANCHOR, [], 0),
        (Action.FREEZE_LOG, {"size": 7, "root": b64url_encode(bytes(32))}, bytes(32).hex()),
        (Action.COMPROMISE_KEY, STOLEN.to_json(), STOLEN.pin.root.hex() if STOLEN.pin else ""),
        (Action.CHANGE_TRUST, {"quorum": 0}, '{"quorum": 0}'),
        (Action.CHANGE_TRUST, "\u202e\x9b2J", '"\\u202e\\u009b2J"'),
    ],
)
def test_the_outcome_is_shown(action: Action, outcome: Json, shown: object) -> None:
    assert shown in [value for _, value in outcome_rows(_file(action, outcome))]


@pytest.mark.parametrize("action", [Action.SUSPEND_KEY, Action.RESUME_KEY, Action.REMOVE_OFFICER])
def test_what_commits_to_nothing_more_shows_nothing_more(action: Action) -> None:
    assert outcome_rows(_file(action, {})) == []


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (Action.ADD_OFFICER, {}),
        (Action.ADD_OFFICER, {"suite": "ES256", "thumbprint": "\x1b[2J"}),
        (Action.FREEZE_LOG, {"size": "\x1b[2J", "root": b64url_encode(bytes(32))}),
        (Action.REPLACE_ROOT, "no certificate"),
        (Action.COMPROMISE_KEY, {"pin": None}),
        (Action.CHANGE_TRUST, "x" * 3000),
    ],
)
def test_what_cannot_be_read_is_not_signed(action: Action, outcome: Json) -> None:
    with pytest.raises(MalformedError):
        outcome_rows(_file(action, outcome))
