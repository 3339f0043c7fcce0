"""ES256: ECDSA on P-256 with SHA-256 (RFC 7518 §3.4, FIPS 186-5)."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.x509.oid import SignatureAlgorithmOID

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import PublicKey, SigningKey, Suite
from yinxin_proto.signaturepair import HALF_BYTES as _COORDINATE
from yinxin_proto.signaturepair import from_der, to_der
from yinxin_proto.strict import b64url_decode, b64url_encode

# Hashed here: fetching its hash anew for each message costs the library a
# twentieth of the verification.
_ECDSA: Final = ec.ECDSA(Prehashed(hashes.SHA256()))
_DETERMINISTIC: Final = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)


def _from_coordinates(x: str, y: str) -> ec.EllipticCurvePublicKey:
    point = b64url_decode(x, max_bytes=_COORDINATE), b64url_decode(y, max_bytes=_COORDINATE)
    if len(point[0]) != _COORDINATE or len(point[1]) != _COORDINATE:
        raise MalformedError("ES256: a coordinate is 32 bytes", reason="KEY")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), b"\x04" + point[0] + point[1]
        )
    except ValueError as error:
        raise MalformedError("ES256: the point is not on the curve", reason="KEY") from error


class Es256PublicKey:
    """A P-256 verification key."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key

    @property
    def suite(self) -> Suite:
        """The ES256 suite."""
        return ES256

    @cached_property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 of ``spki``."""
        return sha256(self.spki).digest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check r ‖ s (64 bytes) over ``message``; see `PublicKey.verify`."""
        if len(signature) != 2 * _COORDINATE:
            raise VerificationError("ES256: a signature is 64 bytes", reason="SIGNATURE_LENGTH")
        try:
            self._key.verify(to_der(signature), sha256(message).digest(), _ECDSA)
        except InvalidSignature:
            raise VerificationError(
                "ES256: the signature does not verify under this key", reason="SIGNATURE"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Es256PublicKey) and other.spki == self.spki

    def __hash__(self) -> int:
        return hash(self.spki)


class Es256SigningKey:
    """A P-256 private key held in this process.

    ``deterministic`` signs by RFC 6979, for vectors that must repeat; it is
    slower, and production has no need of it.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, deterministic: bool = False) -> None:
        self._key = key
        self._algorithm = _DETERMINISTIC if deterministic else _ECDSA

    @cached_property
    def public_key(self) -> PublicKey:
        """The matching verification key."""
        return Es256PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return r ‖ s, 64 bytes."""
        signature = self._key.sign(sha256(message).digest(), self._algorithm)
        r, s = decode_dss_signature(signature)
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")

    def to_pkcs8(self) -> bytes:
        """Return unencrypted DER PKCS#8."""
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __repr__(self) -> str:
        return "Es256SigningKey(…)"


class Es256:
    """The suite ``ES256``."""

    name = "ES256"
    jose_alg = "ES256"
    sd_alg = "sha-256"
    signature_size = 2 * _COORDINATE

    def generate(self) -> SigningKey:
        """Make a P-256 key pair from the library's own generator."""
        return Es256SigningKey(ec.generate_private_key(ec.SECP256R1()))

    def load_private(self, pkcs8: bytes) -> SigningKey:
        """Load DER PKCS#8; see `Suite.load_private`."""
        try:
            key = serialization.load_der_private_key(pkcs8, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError("ES256: not a DER PKCS#8 private key", reason="KEY") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise MalformedError("ES256: not a P-256 private key", reason="KEY")
        return Es256SigningKey(key)

    def load_deterministic(self, secret: int) -> SigningKey:
        """Derive a key from a secret scalar, signing by RFC 6979: for vectors."""
        return Es256SigningKey(ec.derive_private_key(secret, ec.SECP256R1()), deterministic=True)

    def load_public(self, spki: bytes) -> PublicKey:
        """Load DER SubjectPublicKeyInfo; see `Suite.load_public`."""
        try:
            key = serialization.load_der_public_key(spki)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError("ES256: not a DER public key", reason="KEY") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise MalformedError("ES256: not a P-256 public key", reason="KEY")
        found = Es256PublicKey(key)
        if found.spki != spki:
            # A compressed point would give one key two thumbprints.
            raise MalformedError("ES256: not the uncompressed encoding of a key", reason="KEY")
        return found

    def public_from_jwk(self, jwk: dict[str, object]) -> PublicKey:
        """Load an EC/P-256 public JWK (RFC 7518 §6.2); see `Suite.public_from_jwk`."""
        if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or "d" in jwk:
            raise MalformedError("ES256: not a public EC P-256 JWK", reason="KEY")
        if jwk.get("alg", self.jose_alg) != self.jose_alg or jwk.get("use", "sig") != "sig":
            raise MalformedError("ES256: the JWK is for another algorithm or use", reason="KEY_USE")
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise MalformedError("ES256: the JWK is not for verifying", reason="KEY_USE")
        x, y = jwk.get("x"), jwk.get("y")
        if not isinstance(x, str) or not isinstance(y, str):
            raise MalformedError("ES256: the JWK lacks x or y", reason="KEY")
        return Es256PublicKey(_from_coordinates(x, y))

    def public_to_jwk(self, key: PublicKey) -> dict[str, str]:
        """Return ``{kty, crv, x, y}``."""
        if key.suite is not self:
            raise MalformedError("ES256: a key of another suite", reason="KEY")
        point = key.spki[-2 * _COORDINATE :]
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": b64url_encode(point[:_COORDINATE]),
            "y": b64url_encode(point[_COORDINATE:]),
        }

    def to_x509_signature(self, signature: bytes) -> bytes:
        """Convert r ‖ s to DER SEQUENCE {r, s}."""
        if len(signature) != self.signature_size:
            raise MalformedError("ES256: a signature is 64 bytes", reason="SIGNATURE_LENGTH")
        return to_der(signature)

    def from_x509_signature(self, signature: bytes) -> bytes:
        """Convert DER SEQUENCE {r, s} to r ‖ s; see `Suite.from_x509_signature`."""
        return from_der(signature, suite=self.name)

    def x509_signature_oid(self) -> x509.ObjectIdentifier:
        """Return ecdsa-with-SHA256."""
        return SignatureAlgorithmOID.ECDSA_WITH_SHA256


ES256: Final = Es256()
"""The one instance; `yinxin_proto.suite` registers it."""
