"""Our keys and signers in the form that python-tuf takes them."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import serialization
from securesystemslib.signer import Key, SecretsHandler, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSignerInterface

from yinxin_proto.error import ConfigurationError
from yinxin_proto.signature import PublicKey, Signer

_KEY_TYPES: Final = {("ecdsa", "ecdsa-sha2-nistp256"): "ES256"}
"""TUF's key type and scheme of each suite that has them."""


def spki_of(key: Key) -> bytes | None:
    """Return a TUF key's DER SubjectPublicKeyInfo; None if no suite of ours has it."""
    if (key.keytype, key.scheme) not in _KEY_TYPES:
        return None
    try:
        public = serialization.load_pem_public_key(key.keyval["public"].encode())
    except ValueError:
        # It verified nothing either; an unusable key just does not count.
        return None
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def tuf_key(key: PublicKey) -> SSlibKey:
    """Return a key as TUF metadata carries it: PEM, named by its own digest.

    Raises:
        ConfigurationError: TUF has no name for the key's suite.
    """
    if key.suite.name not in _KEY_TYPES.values():
        raise ConfigurationError(
            "repository: TUF has no key type for this suite; use ES256", reason="UNKNOWN_SUITE"
        )
    return SSlibKey.from_crypto(serialization.load_der_public_key(key.spki))


class TufSigner(TufSignerInterface):
    """A `Signer` of ours behind the interface that python-tuf signs through."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._key = tuf_key(signer.public_key)

    @property
    def public_key(self) -> SSlibKey:
        """The key as TUF metadata carries it."""
        return self._key

    def sign(self, payload: bytes) -> Signature:
        """Sign; the signature is hexadecimal DER, as TUF has it for ECDSA."""
        raw = self._signer.sign(payload)
        der = self._signer.public_key.suite.to_x509_signature(raw)
        return Signature(self._key.keyid, der.hex())

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,
    ) -> TufSigner:
        """Refuse: keys come from a key store, never from a URI."""
        del priv_key_uri, public_key, secrets_handler
        raise ConfigurationError("repository: keys come from a key store", reason="KEY_URI")
