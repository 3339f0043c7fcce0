"""SM2 with SM3 (GB/T 32918.2, GB/T 32905), the suite of commercial-cryptography regions.

JOSE has no name for it: ``alg`` is ``SM2SM3`` and the curve of a JWK is
``SM2``, both private to this project. The user identity is always
``1234567812345678`` (GM/T 0009 §10). Signatures are r ‖ s of 64 bytes in JOSE
and SEQUENCE {r, s} in X.509, as with ES256.

Private keys are used by libcrypto alone. Verifying falls back to arithmetic in
Python where the machine has no libcrypto that knows SM2.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Final

from cryptography import x509

from yinxin_proto import sm2curve, sm2der
from yinxin_proto.error import MalformedError, UnavailableError, VerificationError
from yinxin_proto.libcrypto import Key, Libcrypto
from yinxin_proto.signature import PublicKey, SigningKey, Suite
from yinxin_proto.signaturepair import HALF_BYTES, PAIR_BYTES, from_der, to_der
from yinxin_proto.sm2provider import provider
from yinxin_proto.strict import b64url_decode, b64url_encode


class Sm2PublicKey:
    """An SM2 verification key.

    Args:
        point: x ‖ y, checked to be on the curve.
    """

    def __init__(self, point: bytes) -> None:
        self._point = point

    @property
    def suite(self) -> Suite:
        """The SM2 suite."""
        return SM2

    @property
    def point(self) -> bytes:
        """The coordinates x ‖ y, 64 bytes."""
        return self._point

    @cached_property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return sm2der.public_info(self._point)

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 of ``spki``."""
        return sha256(self.spki).digest()

    @cached_property
    def _loaded(self) -> tuple[Libcrypto, Key] | None:
        library = provider().find()
        return None if library is None else (library, library.load_public(self.spki))

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check r ‖ s (64 bytes) over ``message``; see `PublicKey.verify`.

        Raises:
            UnavailableError: The library failed; no verdict on the signature.
        """
        if len(signature) != PAIR_BYTES:
            raise VerificationError("SM2: a signature is 64 bytes", reason="SIGNATURE_LENGTH")
        # Out of range is refused here, so that a library need not be trusted to.
        if not (
            sm2curve.is_scalar(signature[:HALF_BYTES])
            and sm2curve.is_scalar(signature[HALF_BYTES:])
        ):
            raise _unverified()
        loaded = self._loaded
        if loaded is None:
            held = sm2curve.verify(self._point, signature, message)
        else:
            library, key = loaded
            held = library.verify(key, sm2curve.USER_ID, to_der(signature), message)
        if not held:
            raise _unverified()

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt to this key (GB/T 32918.4), in the DER form of GM/T 0009 §7.2.

        For the enveloped keys of GB/T 35276 alone; no licence is encrypted.

        Raises:
            ConfigurationError: No libcrypto that knows SM2 (``SM2_UNAVAILABLE``).
        """
        library = provider().require()
        return library.encrypt(library.load_public(self.spki), plaintext)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sm2PublicKey) and other._point == self._point

    def __hash__(self) -> int:
        return hash(self._point)


class Sm2SigningKey:
    """An SM2 private key held in this process.

    Args:
        scalar: The private key, 32 bytes, in range.

    Raises:
        ConfigurationError: No libcrypto that knows SM2 (``SM2_UNAVAILABLE``).
    """

    def __init__(self, scalar: bytes) -> None:
        self._scalar = scalar
        self._library = provider().require()
        self._key, spki = self._library.load_private(sm2der.private_info(scalar))
        self._point = sm2der.read_public_info(spki)

    @cached_property
    def public_key(self) -> PublicKey:
        """The matching verification key."""
        return Sm2PublicKey(self._point)

    def sign(self, message: bytes) -> bytes:
        """Return r ‖ s, 64 bytes."""
        der = self._library.sign(self._key, sm2curve.USER_ID, message)
        return from_der(der, suite="SM2")

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Open what was encrypted to this key; see `Sm2PublicKey.encrypt`.

        Raises:
            MalformedError: It does not open (``CIPHERTEXT``).
        """
        try:
            return self._library.decrypt(self._key, ciphertext)
        except UnavailableError as error:
            raise MalformedError(
                "SM2: the ciphertext does not open under this key", reason="CIPHERTEXT"
            ) from error

    def to_pkcs8(self) -> bytes:
        """Return unencrypted DER PKCS#8, with the public key in it."""
        return sm2der.private_info(self._scalar, self._point)

    def __repr__(self) -> str:
        return "Sm2SigningKey(…)"


class Sm2:
    """The suite ``SM2``."""

    name = "SM2"
    jose_alg = "SM2SM3"
    sd_alg = "sm3"
    signature_size = PAIR_BYTES

    def generate(self) -> SigningKey:
        """Make a key pair from libcrypto's own generator.

        Raises:
            ConfigurationError: No libcrypto that knows SM2 (``SM2_UNAVAILABLE``).
        """
        scalar, _ = provider().require().generate()
        return Sm2SigningKey(sm2der.check_scalar(scalar))

    def load_scalar(self, scalar: bytes) -> Sm2SigningKey:
        """Load a bare private key, as GB/T 35276 envelopes carry it.

        Raises:
            MalformedError: Not 32 bytes, or out of range (``KEY``).
        """
        return Sm2SigningKey(sm2der.check_scalar(scalar))

    def load_private(self, pkcs8: bytes) -> SigningKey:
        """Load DER PKCS#8; see `Suite.load_private`.

        Raises:
            ConfigurationError: No libcrypto that knows SM2 (``SM2_UNAVAILABLE``).
        """
        scalar, point = sm2der.read_private_info(pkcs8)
        key = Sm2SigningKey(scalar)
        if point is not None and sm2der.public_info(point) != key.public_key.spki:
            raise MalformedError("SM2: the public key is another key's", reason="KEY")
        return key

    def load_public(self, spki: bytes) -> PublicKey:
        """Load DER SubjectPublicKeyInfo; see `Suite.load_public`."""
        return Sm2PublicKey(sm2der.read_public_info(spki))

    def public_from_jwk(self, jwk: dict[str, object]) -> PublicKey:
        """Load an EC/SM2 public JWK; see `Suite.public_from_jwk`."""
        if jwk.get("kty") != "EC" or jwk.get("crv") != "SM2" or "d" in jwk:
            raise MalformedError("SM2: not a public EC SM2 JWK", reason="KEY")
        if jwk.get("alg", self.jose_alg) != self.jose_alg or jwk.get("use", "sig") != "sig":
            raise MalformedError("SM2: the JWK is for another algorithm or use", reason="KEY_USE")
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise MalformedError("SM2: the JWK is not for verifying", reason="KEY_USE")
        x, y = jwk.get("x"), jwk.get("y")
        if not isinstance(x, str) or not isinstance(y, str):
            raise MalformedError("SM2: the JWK lacks x or y", reason="KEY")
        halves = [b64url_decode(text, max_bytes=HALF_BYTES) for text in (x, y)]
        if any(len(half) != HALF_BYTES for half in halves):
            raise MalformedError("SM2: a coordinate is 32 bytes", reason="KEY")
        return Sm2PublicKey(sm2der.check_point(b"".join(halves)))

    def public_to_jwk(self, key: PublicKey) -> dict[str, str]:
        """Return ``{kty, crv, x, y}``."""
        if not isinstance(key, Sm2PublicKey):
            raise MalformedError("SM2: a key of another suite", reason="KEY")
        return {
            "kty": "EC",
            "crv": "SM2",
            "x": b64url_encode(key.point[:HALF_BYTES]),
            "y": b64url_encode(key.point[HALF_BYTES:]),
        }

    def to_x509_signature(self, signature: bytes) -> bytes:
        """Convert r ‖ s to DER SEQUENCE {r, s}."""
        if len(signature) != self.signature_size:
            raise MalformedError("SM2: a signature is 64 bytes", reason="SIGNATURE_LENGTH")
        return to_der(signature)

    def from_x509_signature(self, signature: bytes) -> bytes:
        """Convert DER SEQUENCE {r, s} to r ‖ s; see `Suite.from_x509_signature`."""
        return from_der(signature, suite=self.name)

    def x509_signature_oid(self) -> x509.ObjectIdentifier:
        """Return SM2-with-SM3 (GM/T 0006)."""
        return _SM2_WITH_SM3


def _unverified() -> VerificationError:
    return VerificationError(
        "SM2: the signature does not verify under this key", reason="SIGNATURE"
    )


_SM2_WITH_SM3: Final = x509.ObjectIdentifier("1.2.156.10197.1.501")

SM2: Final = Sm2()
"""The one instance; `yinxin_proto.suite` registers it."""
