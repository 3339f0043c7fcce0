from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from yinxin_proto import note
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.note import NoteSignature, NoteSigner, NoteVerifier, add_signature
from yinxin_proto.vkey import SignatureType, VerifierKey

GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSN"
    "XgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
"""The example of Go's sumdb/note package, whose private key is published with it."""

TEXT = "one line\n\nand another\n"


def signer(number: int, name: str = "log.example/1") -> NoteSigner:
    return NoteSigner(name=name, key=bytes([number]) * 32)


def verifier(one: NoteSigner) -> NoteVerifier:
    return NoteVerifier(one.vkey)


def test_the_example_of_another_implementation_is_reproduced() -> None:
    signed = note.sign(GO_TEXT, [NoteSigner(name="PeterNeumann", key=GO_SEED)])
    assert signed == GO_NOTE
    verified = note.parse(GO_NOTE).verify([NoteVerifier(GO_VKEY)])
    assert verified.text == GO_TEXT


def test_a_text_may_have_empty_lines_of_its_own() -> None:
    for text in (TEXT, "\n", "\n\n", "a\n\n"):
        signed = note.sign(text, [signer(1)])
        parsed = note.parse(signed)
        assert parsed.claimed_text == text
        assert parsed.to_bytes() == signed
        assert parsed.verify([verifier(signer(1))]).text == text


def test_a_key_is_taken_as_seed_or_as_object() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    assert note.sign(TEXT, [NoteSigner(name="log.example/1", key=key)]) == note.sign(
        TEXT, [signer(1)]
    )
    with pytest.raises(MalformedError) as caught:
        NoteSigner(name="log.example/1", key=b"short")
    assert caught.value.reason == "KEY"


def test_a_signer_does_not_show_its_key() -> None:
    assert repr(signer(7)) == "NoteSigner(log.example/1)"


def test_an_altered_text_does_not_verify() -> None:
    altered = note.sign(TEXT, [signer(1)]).replace(b"another", b"Another")
    with pytest.raises(VerificationError) as caught:
        note.parse(altered).verify([verifier(signer(1))])
    assert caught.value.reason == "NOTE_SIGNATURE"


def test_sixteen_and_more_signatures_are_read() -> None:
    signers = [signer(number, f"witness.example/{number}") for number in range(1, 21)]
    verified = note.parse(note.sign(TEXT, signers)).verify(map(verifier, signers))
    assert [line.name for line in verified.signatures] == [one.vkey.name for one in signers]


def test_lines_of_unknown_keys_are_ignored_even_under_a_known_name() -> None:
    known, same_name = signer(1), signer(2)
    signed = note.sign(TEXT, [same_name, known])
    verified = note.parse(signed).verify([verifier(known)])
    assert verified.signed_by(known.vkey) is not None
    assert verified.signed_by(same_name.vkey) is None


def test_a_note_that_only_strangers_signed_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        note.parse(note.sign(TEXT, [signer(1)])).verify([verifier(signer(2))])
    assert caught.value.reason == "NOTE_UNSIGNED"
    with pytest.raises(VerificationError):
        note.parse(note.sign(TEXT, [signer(1)])).verify([])


def test_a_key_with_the_same_id_does_not_sign_for_another() -> None:
    known = signer(1)
    forged = signer(2).sign(TEXT.encode()).signature
    line = NoteSignature(known.vkey.name, known.vkey.key_id, forged)
    signed = add_signature(TEXT.encode() + b"\n", line)
    with pytest.raises(VerificationError) as caught:
        note.parse(signed).verify([verifier(known)])
    assert caught.value.reason == "NOTE_SIGNATURE"


def test_one_false_line_of_a_known_key_spoils_the_note() -> None:
    known, witness = signer(1), signer(2, "witness.example")
    signed = note.sign(TEXT, [known])
    false = NoteSignature(witness.vkey.name, witness.vkey.key_id, bytes(64))
    with pytest.raises(VerificationError):
        note.parse(add_signature(signed, false)).verify([verifier(known), verifier(witness)])


def test_a_repeated_line_is_one_vote() -> None:
    known = signer(1)
    signed = add_signature(note.sign(TEXT, [known]), known.sign(TEXT.encode()))
    verified = note.parse(signed).verify([verifier(known), verifier(known)])
    assert len(verified.signatures) == 1


def test_a_false_line_after_a_good_one_of_the_same_key_is_refused() -> None:
    known = signer(1)
    false = NoteSignature(known.vkey.name, known.vkey.key_id, bytes(64))
    with pytest.raises(VerificationError):
        note.parse(add_signature(note.sign(TEXT, [known]), false)).verify([verifier(known)])


GOOD_LINE = "— a.example " + base64.b64encode(bytes(68)).decode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "NOTE"),
        ("text\n", "NOTE"),
        ("text\n\n", "NOTE"),
        (f"text\n{GOOD_LINE}\n", "NOTE"),
        (f"text\n\n{GOOD_LINE}", "NOTE"),
        (f"te\rxt\n\n{GOOD_LINE}\n", "NOTE"),
        (f"te\x00xt\n\n{GOOD_LINE}\n", "NOTE"),
        (f"text\n\n{GOOD_LINE}\r\n", "NOTE"),
        ("text\n\nno dash here\n", "NOTE_SIGNATURE"),
        (f"text\n\n{GOOD_LINE.replace('—', '-')}\n", "NOTE_SIGNATURE"),
        ("text\n\n— a.example\n", "NOTE_SIGNATURE"),
        ("text\n\n— a.example \n", "NOTE_SIGNATURE"),
        ("text\n\n— a.example AAAAAA==\n", "NOTE_SIGNATURE"),
        (f"text\n\n{GOOD_LINE.replace(' a', '  a')}\n", "BASE64"),
        (f"text\n\n{GOOD_LINE.replace('=', '')}\n", "BASE64"),
        (f"text\n\n{GOOD_LINE.replace('a.e', 'a+e')}\n", "KEY_NAME"),
        ("text\n\n" + f"{GOOD_LINE}\n" * 65, "TOO_LARGE"),
        ("x" * (1 << 18) + f"\n\n{GOOD_LINE}\n", "TOO_LARGE"),
    ],
)
def test_what_is_no_signed_note_is_malformed(data: str, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        note.parse(data.encode())
    assert caught.value.reason == reason


def test_a_note_is_utf8() -> None:
    with pytest.raises(MalformedError) as caught:
        note.parse(b"\xff\n\n" + GOOD_LINE.encode() + b"\n")
    assert caught.value.reason == "NOTE"


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "\ud800\n", "x" * (1 << 18) + "\n"])
def test_a_text_that_could_not_be_read_back_is_not_signed(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        note.sign(text, [signer(1)])
    assert caught.value.reason == "NOTE"


def test_a_note_needs_a_signer() -> None:
    with pytest.raises(InvalidArgumentError):
        note.sign(TEXT, [])


def test_a_witness_key_is_no_note_key() -> None:
    witness = VerifierKey("w.example", SignatureType.ED25519_COSIGNATURE, bytes(32))
    with pytest.raises(MalformedError) as caught:
        NoteVerifier(witness)
    assert caught.value.reason == "VKEY_TYPE"
