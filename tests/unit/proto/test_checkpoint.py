from __future__ import annotations

import dataclasses
from base64 import b64encode

import pytest

from support.clock import FixedClock
from yinxin_proto import checkpoint, note
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.cosignature import CosignatureSigner, CosignatureVerifier
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead
from yinxin_proto.note import NoteSigner, NoteVerifier, add_signature, ed25519_private_key

ORIGIN = "region.example/log/350300/licences/1"
ROOT = bytes(range(32))
HEAD = Checkpoint(origin=ORIGIN, size=20_852_163, root=ROOT)
LOG = NoteSigner(name=ORIGIN, key=b"\x01" * 32)
WITNESS = CosignatureSigner(
    name="witness.example/w1", key=ed25519_private_key(b"\x02" * 32), clock=FixedClock()
)


def test_the_text_is_three_lines() -> None:
    text = f"{ORIGIN}\n20852163\n{b64encode(ROOT).decode()}\n"
    assert HEAD.to_text() == text
    assert Checkpoint.parse_text(text) == HEAD
    assert HEAD.head == TreeHead(20_852_163, ROOT)


def test_extension_lines_are_kept() -> None:
    extended = dataclasses.replace(HEAD, extensions=("one", "two words"))
    assert Checkpoint.parse_text(extended.to_text()) == extended


def test_a_checkpoint_that_its_log_signed_is_believed() -> None:
    verified = checkpoint.parse(HEAD.sign([LOG])).verify(NoteVerifier(LOG.vkey))
    assert verified.checkpoint == HEAD
    assert verified.head == HEAD.head
    assert verified.origin == ORIGIN
    assert verified.cosignatures == ()


def test_an_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    assert checkpoint.parse(empty.sign([LOG])).claimed == empty


def test_the_lines_of_known_witnesses_are_verified_with_it() -> None:
    signed = HEAD.sign([WITNESS, LOG])
    verified = checkpoint.parse(signed).verify(
        NoteVerifier(LOG.vkey), [CosignatureVerifier(WITNESS.vkey)]
    )
    assert [line.name for line in verified.signatures] == [ORIGIN, "witness.example/w1"]
    assert [line.name for line in verified.cosignatures] == ["witness.example/w1"]


def test_a_witness_cannot_speak_for_the_log() -> None:
    cosigned = note.sign(HEAD.to_text(), [WITNESS])
    with pytest.raises(VerificationError) as caught:
        checkpoint.parse(cosigned).verify(
            NoteVerifier(LOG.vkey), [CosignatureVerifier(WITNESS.vkey)]
        )
    assert caught.value.reason == "LOG_SIGNATURE"


def test_a_cosignature_by_the_logs_own_key_is_not_its_signature() -> None:
    own_cosigner = CosignatureSigner(
        name=ORIGIN, key=ed25519_private_key(b"\x01" * 32), clock=FixedClock()
    )
    cosigned = note.sign(HEAD.to_text(), [own_cosigner])
    with pytest.raises(VerificationError) as caught:
        checkpoint.parse(cosigned).verify(
            NoteVerifier(LOG.vkey), [CosignatureVerifier(own_cosigner.vkey)]
        )
    assert caught.value.reason == "LOG_SIGNATURE"
    with pytest.raises(InvalidArgumentError) as refused:
        HEAD.sign([own_cosigner])
    assert refused.value.reason == "LOG_SIGNATURE"


def test_another_key_of_the_logs_name_is_not_the_log() -> None:
    thief = NoteSigner(name=ORIGIN, key=b"\x03" * 32)
    with pytest.raises(VerificationError) as caught:
        checkpoint.parse(HEAD.sign([thief])).verify(NoteVerifier(LOG.vkey))
    assert caught.value.reason == "LOG_SIGNATURE"


@pytest.mark.parametrize("origin", [ORIGIN.replace("licences", "uses"), ORIGIN[:-1] + "2"])
def test_the_checkpoint_of_another_log_or_epoch_is_refused(origin: str) -> None:
    other = dataclasses.replace(HEAD, origin=origin)
    signed = note.sign(other.to_text(), [LOG])
    with pytest.raises(VerificationError) as caught:
        checkpoint.parse(signed).verify(NoteVerifier(LOG.vkey))
    assert caught.value.reason == "CHECKPOINT_ORIGIN"


def test_a_larger_size_under_the_old_signature_is_refused() -> None:
    altered = HEAD.sign([LOG]).replace(b"20852163", b"20852164")
    with pytest.raises(VerificationError) as caught:
        checkpoint.parse(altered).verify(NoteVerifier(LOG.vkey))
    assert caught.value.reason == "NOTE_SIGNATURE"


def test_a_false_line_of_a_known_witness_is_refused() -> None:
    other = dataclasses.replace(HEAD, size=7)
    signed = add_signature(HEAD.sign([LOG]), WITNESS.sign(other.to_text().encode()))
    parsed = checkpoint.parse(signed)
    assert parsed.verify(NoteVerifier(LOG.vkey)).cosignatures == ()
    with pytest.raises(VerificationError) as caught:
        parsed.verify(NoteVerifier(LOG.vkey), [CosignatureVerifier(WITNESS.vkey)])
    assert caught.value.reason == "NOTE_SIGNATURE"


def test_a_foreign_name_cannot_sign_as_the_log() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        HEAD.sign([NoteSigner(name="other.example", key=b"\x01" * 32)])
    assert caught.value.reason == "LOG_SIGNATURE"


ROOT_LINE = b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n1\n{ROOT_LINE}",
        f"\n1\n{ROOT_LINE}\n",
        f"{ORIGIN}\n01\n{ROOT_LINE}\n",
        f"{ORIGIN}\n-1\n{ROOT_LINE}\n",
        f"{ORIGIN}\n+1\n{ROOT_LINE}\n",
        f"{ORIGIN}\n1_0\n{ROOT_LINE}\n",
        f"{ORIGIN}\n١\n{ROOT_LINE}\n",
        f"{ORIGIN}\n9223372036854775808\n{ROOT_LINE}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT_LINE}\n",
        f"{ORIGIN}\n1\n{ROOT_LINE[:-1]}\n",
        f"{ORIGIN}\n1\nAAAA\n",
        f"{ORIGIN}\n1\n{ROOT_LINE}\n\n",
        f"{ORIGIN}\n1\n{ROOT_LINE}\n\nextension\n",
        f"{'o' * 256}\n1\n{ROOT_LINE}\n",
        f"{ORIGIN}\n1\n{ROOT_LINE}\n" + "x\n" * 17,
        f"{ORIGIN}\n1\n{ROOT_LINE}\n{'x' * 1025}\n",
        f"\ud800\n1\n{ROOT_LINE}\n",
    ],
)
def test_what_is_no_checkpoint_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Checkpoint.parse_text(text)
    assert caught.value.reason in {"CHECKPOINT", "BASE64"}


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"size": -1},
        {"size": 1 << 63},
        {"root": b"short"},
        {"extensions": ("",)},
        {"extensions": ("two\nlines",)},
    ],
)
def test_a_field_that_would_break_its_line_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError) as caught:
        dataclasses.replace(HEAD, **change)  # type: ignore[arg-type]
    assert caught.value.reason == "CHECKPOINT"
