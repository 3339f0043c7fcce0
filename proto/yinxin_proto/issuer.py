"""Issuer: concealing what is marked and signing what is left (RFC 9901 §5, §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from yinxin_proto.clock import Entropy
from yinxin_proto.concealment import ENCODE_JSON, NEVER_CONCEALED, SD, TYP, conceal
from yinxin_proto.disclosure import (
    DEFAULT_HASH,
    Disclosure,
    as_disclosures,
    hash_function,
    read_disclosures,
)
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.jose import encode_header, sign_encoded
from yinxin_proto.signature import Signer
from yinxin_proto.strict import Json

_NO_HEADER: Final[Mapping[str, Json]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class IssuedSdJwt:
    """A token as it leaves the issuer, with everything that can be disclosed."""

    issuer_jwt: str
    """The issuer-signed JWT, in compact serialisation."""
    encoded_disclosures: tuple[str, ...]
    """All disclosures as they travel, those within others first."""
    hash_name: str = DEFAULT_HASH
    """What hashes them."""

    @property
    def disclosures(self) -> tuple[Disclosure, ...]:
        """All disclosures, decoded."""
        contents = read_disclosures(self.encoded_disclosures, hash_function(self.hash_name))
        return as_disclosures(self.encoded_disclosures, contents)

    def to_text(self) -> str:
        """Return the token with all its disclosures."""
        return "~".join([self.issuer_jwt, *self.encoded_disclosures, ""])


class Issuer:
    """Whoever issues many tokens under one key and one header.

    Args:
        signer: The issuer's key.
        typ: Type of the tokens.
        header: Further protected header members, such as ``x5c``; encoded once.

    Raises:
        InvalidArgumentError: A header that `jose` refuses.
    """

    __slots__ = ("_hash_name", "_header", "_signer", "_typ")

    def __init__(
        self, *, signer: Signer, typ: str = TYP, header: Mapping[str, Json] = _NO_HEADER
    ) -> None:
        self._signer = signer
        self._typ = typ
        self._hash_name = signer.public_key.suite.sd_alg
        self._header = encode_header(signer, typ=typ, header=header)

    def issue(
        self,
        claims: Mapping[str, Json],
        *,
        entropy: Entropy,
        decoys: int | Sequence[bytes] = 0,
    ) -> IssuedSdJwt:
        """Conceal what is marked, and sign (§5, §6).

        Args:
            claims: Claims in which ``SD(value)`` marks what may be withheld.
            entropy: Source of the salts.
            decoys: Digests at the top level that stand for nothing; see `conceal`.

        Raises:
            InvalidArgumentError: Claims that cannot be issued, or an SD-JWT VC
                that conceals what it must not (``CONCEALED_CLAIM``).
        """
        if self._typ == TYP and any(type(claims.get(name)) is SD for name in NEVER_CONCEALED):
            raise InvalidArgumentError(
                "SD-JWT VC: iss, nbf, exp, cnf, vct and status cannot be concealed",
                reason="CONCEALED_CLAIM",
            )
        payload, encoded_disclosures = conceal(
            claims, entropy=entropy, decoys=decoys, hash_name=self._hash_name
        )
        try:
            encoded = ENCODE_JSON(payload).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgumentError(
                "SD-JWT: a claim that JSON cannot express", reason="CLAIMS"
            ) from error
        token = sign_encoded(self._signer, self._header, encoded)
        return IssuedSdJwt(token, encoded_disclosures, self._hash_name)


def issue(
    claims: Mapping[str, Json],
    *,
    signer: Signer,
    entropy: Entropy,
    typ: str = TYP,
    header: Mapping[str, Json] = _NO_HEADER,
    decoys: int | Sequence[bytes] = 0,
) -> IssuedSdJwt:
    """Issue one token; see `Issuer` and `Issuer.issue` for arguments and errors."""
    issuer = Issuer(signer=signer, typ=typ, header=header)
    return issuer.issue(claims, entropy=entropy, decoys=decoys)
