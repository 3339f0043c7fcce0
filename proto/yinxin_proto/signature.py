"""The interface that every signature suite implements.

Signatures travel in the form that JOSE defines for the suite (for ES256,
r ‖ s of 64 bytes, RFC 7518 §3.4); X.509 wants another, so a suite converts.
"""

from __future__ import annotations

from typing import Protocol

from cryptography import x509


class PublicKey(Protocol):
    """A verification key, parsed once and reused."""

    @property
    def suite(self) -> Suite:
        """The one suite that this key belongs to."""
        ...

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        ...

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of ``spki``, 32 bytes: how trust records name a key."""
        ...

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature in the suite's JOSE form.

        Raises:
            VerificationError: It is not this key's signature of ``message``.
        """
        ...


class Signer(Protocol):
    """Whoever can sign with a private key that may be out of reach."""

    @property
    def public_key(self) -> PublicKey:
        """The key under which the signatures verify."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return a signature in the suite's JOSE form."""
        ...


class SigningKey(Signer, Protocol):
    """A signer whose private key is in this process and can be stored."""

    def to_pkcs8(self) -> bytes:
        """Return the private key as unencrypted DER PKCS#8."""
        ...


class Suite(Protocol):
    """A hash, a signature and a key codec under one name."""

    @property
    def name(self) -> str:
        """Name in trust records and configuration, e.g. ``ES256``."""
        ...

    @property
    def jose_alg(self) -> str:
        """The ``alg`` value of JOSE headers."""
        ...

    @property
    def sd_alg(self) -> str:
        """The ``_sd_alg`` of SD-JWTs that its keys sign (`yinxin_proto.disclosure`)."""
        ...

    @property
    def signature_size(self) -> int:
        """Length of a signature in JOSE form, in bytes."""
        ...

    def generate(self) -> SigningKey:
        """Make a new key pair."""
        ...

    def load_private(self, pkcs8: bytes) -> SigningKey:
        """Load an unencrypted DER PKCS#8 private key of this suite.

        Raises:
            MalformedError: Not such a key.
        """
        ...

    def load_public(self, spki: bytes) -> PublicKey:
        """Load a DER SubjectPublicKeyInfo of this suite.

        Raises:
            MalformedError: Not such a key, or a point not on the curve.
        """
        ...

    def public_from_jwk(self, jwk: dict[str, object]) -> PublicKey:
        """Load a public JWK of this suite (RFC 7517); private members reject.

        Raises:
            MalformedError: Not such a key.
        """
        ...

    def public_to_jwk(self, key: PublicKey) -> dict[str, str]:
        """Return the public JWK of a key of this suite, required members only."""
        ...

    def to_x509_signature(self, signature: bytes) -> bytes:
        """Convert a signature from JOSE form to what an X.509 BIT STRING holds."""
        ...

    def from_x509_signature(self, signature: bytes) -> bytes:
        """Convert what an X.509 BIT STRING holds to JOSE form.

        Raises:
            MalformedError: Not a signature of this suite in X.509 form.
        """
        ...

    def x509_signature_oid(self) -> x509.ObjectIdentifier:
        """Return the signatureAlgorithm OID of certificates this suite signs."""
        ...
