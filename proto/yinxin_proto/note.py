"""Signed notes: a text and the lines of those who signed it (C2SP signed-note).

::

    <text, ending in a newline>
                                         (an empty line)
    — <key name> base64(key ID ‖ signature)

A text means nothing until a known key's signature has been verified. Lines of
unknown keys are ignored, so that logs can rotate and witnesses can join.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.vkey import (
    KEY_ID_BYTES,
    SignatureType,
    VerifierKey,
    b64_decode,
    b64_encode,
    check_key_name,
)

MAX_NOTE_BYTES: Final = 1 << 18
"""Room for 64 lines of ML-DSA-44 (3,300 characters each)."""
MAX_SIGNATURES: Final = 64
"""The specification asks verifiers to accept at least 16."""

_DASH: Final = "— "
_NEWLINE: Final = 0x0A
_FIRST_PRINTABLE: Final = 0x20


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    """Four bytes; with the name it identifies the key."""
    signature: bytes
    """What follows the key ID; its form is the algorithm's."""

    def to_line(self) -> str:
        """Return the line, without its newline."""
        return f"{_DASH}{self.name} {b64_encode(self.key_id + self.signature)}"

    @classmethod
    def parse_line(cls, line: str) -> NoteSignature:
        """Parse a line without its newline.

        Raises:
            MalformedError: Not a signature line (``NOTE_SIGNATURE``, ``BASE64``,
                ``KEY_NAME``).
        """
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not encoded:
            raise MalformedError("note: not a signature line", reason="NOTE_SIGNATURE")
        raw = b64_decode(encoded)
        if len(raw) <= KEY_ID_BYTES:
            raise MalformedError("note: an empty signature", reason="NOTE_SIGNATURE")
        return cls(check_key_name(name), raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


class LineSigner(Protocol):
    """Whoever can add a line to a note."""

    @property
    def vkey(self) -> VerifierKey:
        """The key under which the line verifies."""
        ...

    def sign(self, text: bytes) -> NoteSignature:
        """Sign a note's text, which ends in a newline."""
        ...


class LineVerifier(Protocol):
    """Whoever can judge the lines of one key."""

    @property
    def vkey(self) -> VerifierKey:
        """The key whose lines are judged."""
        ...

    def verify(self, text: bytes, signature: bytes) -> None:
        """Check one line's signature over a note's text.

        Raises:
            VerificationError: It is not this key's (``NOTE_SIGNATURE``).
        """
        ...


def ed25519_private_key(key: bytes | Ed25519PrivateKey) -> Ed25519PrivateKey:
    """Return a private key given as itself or as its 32-byte seed (RFC 8032 §5.1.5).

    Raises:
        MalformedError: A seed of another length (``KEY``).
    """
    if isinstance(key, Ed25519PrivateKey):
        return key
    try:
        return Ed25519PrivateKey.from_private_bytes(key)
    except ValueError as error:
        raise MalformedError("Ed25519: a seed is 32 bytes", reason="KEY") from error


def ed25519_verify(key: Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature.

    Raises:
        VerificationError: It does not verify (``NOTE_SIGNATURE``).
    """
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise VerificationError(
            "note: the signature does not verify under this key", reason="NOTE_SIGNATURE"
        ) from None


class NoteSigner:
    """Signs notes with Ed25519 (type 01): the log's own signature.

    Args:
        name: Key name; for a log, its origin.
        key: 32-byte seed, or the private key.

    Raises:
        MalformedError: Not a key name (``KEY_NAME``), not a seed (``KEY``).
    """

    def __init__(self, *, name: str, key: bytes | Ed25519PrivateKey) -> None:
        self._key = ed25519_private_key(key)
        public = self._key.public_key().public_bytes_raw()
        self._vkey = VerifierKey(name, SignatureType.ED25519, public)

    @property
    def vkey(self) -> VerifierKey:
        """The key under which the signatures verify."""
        return self._vkey

    def sign(self, text: bytes) -> NoteSignature:
        """Sign a note's text; see `LineSigner.sign`."""
        return NoteSignature(self._vkey.name, self._vkey.key_id, self._key.sign(text))

    def __repr__(self) -> str:
        return f"NoteSigner({self._vkey.name})"


class NoteVerifier:
    """Verifies Ed25519 (type 01) lines of one key.

    Args:
        vkey: The key, or its vkey text.

    Raises:
        MalformedError: Not a vkey, or of another type (``VKEY_TYPE``).
    """

    def __init__(self, vkey: VerifierKey | str) -> None:
        self._vkey = VerifierKey.parse(vkey) if isinstance(vkey, str) else vkey
        if self._vkey.type is not SignatureType.ED25519:
            raise MalformedError("note: an Ed25519 key is needed", reason="VKEY_TYPE")
        self._key = Ed25519PublicKey.from_public_bytes(self._vkey.public_key)

    @property
    def vkey(self) -> VerifierKey:
        """The key whose lines are judged."""
        return self._vkey

    def verify(self, text: bytes, signature: bytes) -> None:
        """Check one line; see `LineVerifier.verify`."""
        ed25519_verify(self._key, signature, text)


@dataclass(frozen=True, slots=True)
class VerifiedNote:
    """A note of which at least one known key's signature holds."""

    text: str
    """The signed text, ending in a newline."""
    signatures: tuple[NoteSignature, ...]
    """The verified lines, in the order of the keys asked for; unknown ones left out."""

    def signed_by(self, vkey: VerifierKey) -> NoteSignature | None:
        """Return the verified line of ``vkey``, or None if it did not sign."""
        wanted = (vkey.name, vkey.key_id)
        return next((s for s in self.signatures if (s.name, s.key_id) == wanted), None)


@dataclass(frozen=True, slots=True)
class UnverifiedNote:
    """A well-formed note that nobody has vouched for yet."""

    claimed_text: str
    """Whatever somebody wrote, ending in a newline."""
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note; the exact inverse of `parse`."""
        return _join(self.claimed_text, self.signatures)

    def verify(self, keys: Iterable[LineVerifier]) -> VerifiedNote:
        """Verify the lines of ``keys``; ignore the others.

        Raises:
            VerificationError: No line is of a known key (``NOTE_UNSIGNED``), or one
                is and does not verify (``NOTE_SIGNATURE``).
        """
        text = self.claimed_text.encode("utf-8")
        verified: list[NoteSignature] = []
        for key in keys:
            known = (key.vkey.name, key.vkey.key_id)
            lines = [s for s in self.signatures if (s.name, s.key_id) == known]
            for line in lines:
                key.verify(text, line.signature)
            # A key has one vote however often its line is repeated.
            verified += lines[:1]
        if not verified:
            raise VerificationError("note: no known key has signed it", reason="NOTE_UNSIGNED")
        return VerifiedNote(self.claimed_text, tuple(dict.fromkeys(verified)))


def sign(text: str, signers: Sequence[LineSigner]) -> bytes:
    """Return the signed note over ``text``, one line per signer, in their order.

    Raises:
        InvalidArgumentError: No newline at the end, a control character, no
            signer, or too many (``NOTE``).
    """
    raw = text.encode("utf-8", "replace")
    if (
        not text.endswith("\n")
        or _has_control(raw)
        or len(raw) > MAX_NOTE_BYTES
        or raw.decode("utf-8") != text
    ):
        raise InvalidArgumentError("note: not a text that can be signed", reason="NOTE")
    if not 1 <= len(signers) <= MAX_SIGNATURES:
        raise InvalidArgumentError("note: 1 … 64 signers", reason="NOTE")
    return _join(text, [signer.sign(raw) for signer in signers])


def add_signature(note: bytes, signature: NoteSignature) -> bytes:
    """Return ``note`` with one more line at its end, as a witness adds it."""
    return note + signature.to_line().encode("utf-8") + b"\n"


def parse(data: bytes) -> UnverifiedNote:
    """Parse a signed note of at most 256 KiB and 64 signatures.

    Raises:
        MalformedError: Not a signed note (``NOTE``, ``NOTE_SIGNATURE``, ``BASE64``,
            ``KEY_NAME``), or over a bound (``TOO_LARGE``).
    """
    if len(data) > MAX_NOTE_BYTES:
        raise MalformedError("note: more than 256 KiB", reason="TOO_LARGE")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("note: not UTF-8", reason="NOTE") from error
    # The last empty line parts text and signatures: the text may have its own.
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or _has_control(data):
        raise MalformedError("note: text, empty line, signature lines", reason="NOTE")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise MalformedError("note: more than 64 signatures", reason="TOO_LARGE")
    return UnverifiedNote(text + "\n", tuple(map(NoteSignature.parse_line, signatures)))


def _has_control(raw: bytes) -> bool:
    return any(byte < _FIRST_PRINTABLE and byte != _NEWLINE for byte in set(raw))


def _join(text: str, signatures: Iterable[NoteSignature]) -> bytes:
    lines = "".join([signature.to_line() + "\n" for signature in signatures])
    return f"{text}\n{lines}".encode()
