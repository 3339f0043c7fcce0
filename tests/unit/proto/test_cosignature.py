from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from support.clock import FixedClock
from yinxin_proto import cosignature
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.cosignature import (
    Cosignature,
    CosignatureSigner,
    CosignatureVerifier,
    ed25519_message,
    subtree_message,
)
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.note import NoteSigner, ed25519_private_key
from yinxin_proto.vkey import SignatureType, VerifierKey

TIME = 1_679_315_147
CLOCK = FixedClock(datetime.fromtimestamp(TIME, UTC))
ROOT = b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
HEAD = Checkpoint(origin="example.com/behind-the-sofa", size=20_852_163, root=ROOT)
TEXT = HEAD.to_text().encode()
NAME = "witness.example.com/w1"


def ed25519() -> CosignatureSigner:
    return CosignatureSigner(name=NAME, key=ed25519_private_key(b"\x07" * 32), clock=CLOCK)


def ml_dsa() -> CosignatureSigner:
    key = MLDSA44PrivateKey.from_seed_bytes(b"\x07" * 32)
    return CosignatureSigner(name=NAME, key=key, clock=CLOCK)


def test_the_ed25519_message_is_the_specifications_example() -> None:
    assert ed25519_message(TIME, TEXT) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_the_subtree_message_is_laid_out_as_specified() -> None:
    message = subtree_message(cosigner="w", time=1, origin="lo", start=0, end=3, root=ROOT)
    assert message == (
        b"subtree/v1\n\x00" + b"\x01w" + bytes(7) + b"\x01" + b"\x02lo" + bytes(8) + bytes(7)
        + b"\x03" + ROOT
    )  # fmt: skip


@pytest.mark.parametrize(("signer", "size"), [(ed25519(), 64), (ml_dsa(), 2420)])
def test_a_cosignature_states_its_time_and_verifies(signer: CosignatureSigner, size: int) -> None:
    line = signer.sign(TEXT)
    stated = cosignature.read(line.signature)
    assert (stated.time, len(stated.signature)) == (TIME, size)
    assert stated.to_bytes() == line.signature
    CosignatureVerifier(signer.vkey.to_text()).verify(TEXT, line.signature)


@pytest.mark.parametrize("signer", [ed25519(), ml_dsa()])
def test_another_time_under_the_same_signature_is_refused(signer: CosignatureSigner) -> None:
    stated = cosignature.read(signer.sign(TEXT).signature)
    earlier = Cosignature(stated.time - 1, stated.signature)
    with pytest.raises(VerificationError) as caught:
        CosignatureVerifier(signer.vkey).verify(TEXT, earlier.to_bytes())
    assert caught.value.reason == "NOTE_SIGNATURE"


@pytest.mark.parametrize("signer", [ed25519(), ml_dsa()])
@pytest.mark.parametrize("field", ["origin", "size", "root"])
def test_another_head_under_the_same_signature_is_refused(
    signer: CosignatureSigner, field: str
) -> None:
    other = {
        "origin": Checkpoint(origin="example.com/other", size=HEAD.size, root=ROOT),
        "size": Checkpoint(origin=HEAD.origin, size=HEAD.size + 1, root=ROOT),
        "root": Checkpoint(origin=HEAD.origin, size=HEAD.size, root=bytes(32)),
    }[field]
    with pytest.raises(VerificationError):
        CosignatureVerifier(signer.vkey).verify(
            other.to_text().encode(), signer.sign(TEXT).signature
        )


def test_ml_dsa_commits_to_the_cosigners_name() -> None:
    signer = ml_dsa()
    renamed = VerifierKey("other.example", signer.vkey.type, signer.vkey.public_key)
    with pytest.raises(VerificationError):
        CosignatureVerifier(renamed).verify(TEXT, signer.sign(TEXT).signature)


def test_a_signature_of_the_other_algorithm_is_refused() -> None:
    for one, other in ((ed25519(), ml_dsa()), (ml_dsa(), ed25519())):
        with pytest.raises(VerificationError):
            CosignatureVerifier(one.vkey).verify(TEXT, other.sign(TEXT).signature)


def test_a_plain_note_signature_is_no_cosignature() -> None:
    plain = NoteSigner(name=NAME, key=b"\x07" * 32).sign(TEXT).signature
    with pytest.raises(MalformedError) as caught:
        CosignatureVerifier(ed25519().vkey).verify(TEXT, plain)
    assert caught.value.reason == "COSIGNATURE"


@pytest.mark.parametrize(
    "line", [b"", bytes(7), bytes(8), bytes(71), bytes(73), bytes(2429), b"\x80" + bytes(71)]
)
def test_another_length_or_a_negative_time_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        cosignature.read(line)
    assert caught.value.reason == "COSIGNATURE"


@pytest.mark.parametrize("text", [b"any other text\n", b"\xff"])
def test_only_a_checkpoint_can_be_cosigned_with_ml_dsa(text: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        ml_dsa().sign(text)
    assert caught.value.reason == "CHECKPOINT"


@pytest.mark.parametrize(
    "change",
    [
        {"cosigner": ""},
        {"cosigner": "x" * 256},
        {"origin": ""},
        {"start": 4},
        {"start": 1},
        {"end": 1 << 63},
        {"time": -1},
        {"root": b""},
    ],
)
def test_a_subtree_message_refuses_what_does_not_fit(change: dict[str, object]) -> None:
    fields = {"cosigner": "w", "time": 1, "origin": "o", "start": 0, "end": 3, "root": ROOT}
    with pytest.raises(InvalidArgumentError) as caught:
        subtree_message(**(fields | change))  # type: ignore[arg-type]
    assert caught.value.reason == "COSIGNATURE"


def test_a_subtree_that_starts_later_states_no_time() -> None:
    assert subtree_message(cosigner="w", time=0, origin="o", start=2, end=4, root=ROOT)


def test_a_logs_own_key_is_no_witness() -> None:
    with pytest.raises(MalformedError) as caught:
        CosignatureVerifier(VerifierKey(NAME, SignatureType.ED25519, bytes(32)))
    assert caught.value.reason == "VKEY_TYPE"
