"""ML-DSA (FIPS 204) in its pure form, with an empty context (RFC 9964, RFC 9881).

One class, by parameter set. ``ML-DSA-65`` is a suite for roots and licences;
``ML-DSA-44`` is the cosigner's of C2SP checkpoints, offered here as a key
codec for its certificates and not registered: no licence is signed with it.

Signing is hedged (FIPS 204 §3.4), so two signatures of one message differ.
Private keys are kept as seeds alone (RFC 9881 §6): the expanded form has
inner relations that a reader would have to check.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
)
from cryptography.x509.oid import SignatureAlgorithmOID

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import PublicKey, SigningKey, Suite
from yinxin_proto.strict import b64url_decode, b64url_encode

_Private = MLDSA44PrivateKey | MLDSA65PrivateKey
_Public = MLDSA44PublicKey | MLDSA65PublicKey

SEED_BYTES: Final = 32


class MlDsaPublicKey:
    """A verification key of one parameter set."""

    def __init__(self, suite: MlDsa, key: _Public) -> None:
        self._suite = suite
        self._key = key

    @property
    def suite(self) -> Suite:
        """The suite of its parameter set."""
        return self._suite

    @property
    def raw(self) -> bytes:
        """The encoded key of FIPS 204 alone, as a C2SP vkey and a JWK carry it."""
        return self._key.public_bytes_raw()

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
        """Check a signature over ``message``; see `PublicKey.verify`."""
        suite = self._suite
        if len(signature) != suite.signature_size:
            raise VerificationError(
                f"{suite.name}: a signature is {suite.signature_size} bytes",
                reason="SIGNATURE_LENGTH",
            )
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise VerificationError(
                f"{suite.name}: the signature does not verify under this key", reason="SIGNATURE"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MlDsaPublicKey) and other.spki == self.spki

    def __hash__(self) -> int:
        return hash(self.spki)


class MlDsaSigningKey:
    """A private key held in this process."""

    def __init__(self, suite: MlDsa, key: _Private) -> None:
        self._suite = suite
        self._key = key

    @cached_property
    def public_key(self) -> PublicKey:
        """The matching verification key."""
        return MlDsaPublicKey(self._suite, self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return a hedged signature with an empty context."""
        return self._key.sign(message)

    def to_pkcs8(self) -> bytes:
        """Return unencrypted DER PKCS#8 that holds the seed (RFC 9881 §6)."""
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __repr__(self) -> str:
        return "MlDsaSigningKey(…)"


class MlDsa:
    """The suite of one parameter set of FIPS 204.

    Args:
        name: Name of the parameter set, which is its JOSE ``alg`` too.
        private: The library's class of private keys.
        public: The library's class of public keys.
        signature_size: FIPS 204 table 2, bytes.
        public_size: FIPS 204 table 2, bytes.
        oid: Signature algorithm, the same as the key's (RFC 9881 §2, §3).
    """

    def __init__(
        self,
        *,
        name: str,
        private: type[_Private],
        public: type[_Public],
        signature_size: int,
        public_size: int,
        oid: x509.ObjectIdentifier,
    ) -> None:
        self.name = name
        self.jose_alg = name
        self.sd_alg = "sha-256"
        self.signature_size = signature_size
        self.public_size = public_size
        self._private = private
        self._public = public
        self._oid = oid

    def generate(self) -> SigningKey:
        """Make a key pair from the library's own generator."""
        return MlDsaSigningKey(self, self._private.generate())

    def load_seed(self, seed: bytes) -> SigningKey:
        """Derive a key from its 32-byte seed (FIPS 204 §6.1), for vectors and for vkeys.

        Raises:
            MalformedError: A seed of another length.
        """
        if len(seed) != SEED_BYTES:
            raise MalformedError(f"{self.name}: a seed is 32 bytes", reason="KEY")
        return MlDsaSigningKey(self, self._private.from_seed_bytes(seed))

    def load_private(self, pkcs8: bytes) -> SigningKey:
        """Load DER PKCS#8 that holds the seed alone; see `Suite.load_private`."""
        try:
            key = serialization.load_der_private_key(pkcs8, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError(
                f"{self.name}: not a DER PKCS#8 private key", reason="KEY"
            ) from error
        if not isinstance(key, self._private):
            raise MalformedError(f"{self.name}: not a private key of this suite", reason="KEY")
        found = MlDsaSigningKey(self, key)
        if found.to_pkcs8() != pkcs8:
            raise MalformedError(f"{self.name}: not a seed in DER PKCS#8", reason="KEY")
        return found

    def load_public(self, spki: bytes) -> PublicKey:
        """Load DER SubjectPublicKeyInfo; see `Suite.load_public`."""
        try:
            key = serialization.load_der_public_key(spki)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedError(f"{self.name}: not a DER public key", reason="KEY") from error
        if not isinstance(key, self._public):
            raise MalformedError(f"{self.name}: not a public key of this suite", reason="KEY")
        found = MlDsaPublicKey(self, key)
        if found.spki != spki:
            raise MalformedError(f"{self.name}: not the DER encoding of a key", reason="KEY")
        return found

    def load_raw(self, raw: bytes) -> PublicKey:
        """Load the encoded key of FIPS 204 alone.

        Raises:
            MalformedError: Another length.
        """
        if len(raw) != self.public_size:
            raise MalformedError(
                f"{self.name}: a public key is {self.public_size} bytes", reason="KEY"
            )
        return MlDsaPublicKey(self, self._public.from_public_bytes(raw))

    def raw_public(self, key: PublicKey) -> bytes:
        """Return the encoded key of FIPS 204 alone, as a C2SP vkey carries it.

        Raises:
            MalformedError: A key of another suite.
        """
        if key.suite is not self:
            raise MalformedError(f"{self.name}: a key of another suite", reason="KEY")
        # The encoded key ends its SubjectPublicKeyInfo.
        return key.spki[-self.public_size :]

    def public_from_jwk(self, jwk: dict[str, object]) -> PublicKey:
        """Load an AKP public JWK (RFC 9964 §3), which must name its ``alg``."""
        if jwk.get("kty") != "AKP" or "priv" in jwk:
            raise MalformedError(f"{self.name}: not a public AKP JWK", reason="KEY")
        if jwk.get("alg") != self.jose_alg or jwk.get("use", "sig") != "sig":
            raise MalformedError(
                f"{self.name}: the JWK is for another algorithm or use", reason="KEY_USE"
            )
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise MalformedError(f"{self.name}: the JWK is not for verifying", reason="KEY_USE")
        pub = jwk.get("pub")
        if not isinstance(pub, str):
            raise MalformedError(f"{self.name}: the JWK lacks pub", reason="KEY")
        return self.load_raw(b64url_decode(pub, max_bytes=self.public_size))

    def public_to_jwk(self, key: PublicKey) -> dict[str, str]:
        """Return ``{kty, alg, pub}``."""
        pub = b64url_encode(self.raw_public(key))
        return {"kty": "AKP", "alg": self.jose_alg, "pub": pub}

    def to_x509_signature(self, signature: bytes) -> bytes:
        """Return the signature: X.509 holds it as it is (RFC 9881 §3)."""
        if len(signature) != self.signature_size:
            raise MalformedError(
                f"{self.name}: a signature is {self.signature_size} bytes",
                reason="SIGNATURE_LENGTH",
            )
        return signature

    def from_x509_signature(self, signature: bytes) -> bytes:
        """Return the signature; see `Suite.from_x509_signature`."""
        if len(signature) != self.signature_size:
            raise MalformedError(f"{self.name}: not a signature of this suite", reason="SIGNATURE")
        return signature

    def x509_signature_oid(self) -> x509.ObjectIdentifier:
        """Return id-ml-dsa of the parameter set."""
        return self._oid

    def __repr__(self) -> str:
        return f"<suite {self.name}>"


ML_DSA_44: Final = MlDsa(
    name="ML-DSA-44",
    private=MLDSA44PrivateKey,
    public=MLDSA44PublicKey,
    signature_size=2420,
    public_size=1312,
    oid=SignatureAlgorithmOID.ML_DSA_44,
)
"""For cosigners of checkpoints and their certificates; not a registered suite."""

ML_DSA_65: Final = MlDsa(
    name="ML-DSA-65",
    private=MLDSA65PrivateKey,
    public=MLDSA65PublicKey,
    signature_size=3309,
    public_size=1952,
    oid=SignatureAlgorithmOID.ML_DSA_65,
)
"""For roots and licences; `yinxin_proto.suite` registers it."""
