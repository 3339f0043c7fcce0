"""SD-JWT: a signed token whose holder chooses what to show (RFC 9901, SD-JWT VC).

On the wire ``<issuer-signed JWT>~<disclosure>~…~[<key-binding JWT>]``. What a
verifier relies on is a `VerifiedSdJwt`, and the only way to one is
`SdJwt.verify`. The public `sd-jwt` 0.10.4 of the specification's authors lets
pass what must not: here each has a reason of its own
(``UNREFERENCED_DISCLOSURE``, ``RESERVED_CLAIM_SD``, ``RESERVED_CLAIM_DOTS``,
``DUPLICATE_DIGEST``, ``TYP``, and from `check_validity` ``EXPIRED`` and
``NOT_YET_VALID``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from yinxin_proto.concealment import NEVER_CONCEALED, SD, TYP
from yinxin_proto.disclosure import (
    DEFAULT_HASH,
    HASH_NAME,
    MAX_DISCLOSURES,
    Contents,
    Disclosure,
    Hash,
    as_disclosures,
    check_undisclosed,
    disclose,
    hash_function,
    read_disclosures,
    read_json,
    undisclosed,
)
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.issuer import IssuedSdJwt, Issuer, issue
from yinxin_proto.jose import UnverifiedJws, parse_compact
from yinxin_proto.selection import Path, chosen, locate
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import MAX_JSON_DEPTH, Json, parse_json

__all__ = [
    "SD",
    "TYP",
    "Disclosure",
    "IssuedSdJwt",
    "Issuer",
    "Path",
    "SdJwt",
    "VerifiedSdJwt",
    "check_validity",
    "issue",
    "parse",
]

MAX_PRESENTATION_BYTES: Final = 1 << 19
"""Bound on a token with all its disclosures."""


class SdJwt:
    """A well-formed presentation of which nothing is believed yet.

    Payload and disclosures are decoded when first asked for; whatever is then
    found wrong with them is raised there. Its repr shows nothing.
    """

    __slots__ = ("_claims", "_contents", "_payload", "encoded_disclosures", "jws", "key_binding")

    def __init__(
        self, *, jws: UnverifiedJws, encoded_disclosures: Sequence[str], key_binding: str | None
    ) -> None:
        self.jws = jws
        self.encoded_disclosures = encoded_disclosures
        self.key_binding = key_binding
        self._payload: dict[str, Json] | None = None
        self._contents: Contents | None = None
        self._claims: dict[str, Json] | None = None

    @property
    def issuer_jwt(self) -> str:
        """The issuer-signed JWT, exactly as presented."""
        return self.jws.token

    @property
    def encoded_header(self) -> str:
        """The protected header as it travels: a key for caching what follows from it."""
        return self.jws.token[: self.jws.token.index(".")]

    @property
    def header(self) -> Mapping[str, Json]:
        """The protected header; equal headers share one read-only view."""
        return self.jws.header

    @property
    def payload(self) -> dict[str, Json]:
        """The payload as signed, digests and all; not to be changed.

        Raises:
            MalformedError: It is not a strict JSON object.
        """
        if self._payload is None:
            data = self.jws.payload
            # Readers may see the payload before its disclosures were judged, so
            # its depth is bounded here: no text nests deeper than it has openings.
            shallow = data.count(b"{") + data.count(b"[") <= MAX_JSON_DEPTH
            payload = read_json(data) if shallow else parse_json(data)
            if type(payload) is not dict:
                raise MalformedError("SD-JWT: the payload is not an object", reason="JSON")
            self._payload = payload
        return self._payload

    @property
    def hashing(self) -> Hash:
        """The hash that ``_sd_alg`` names; SHA-256 where it names none.

        Raises:
            MalformedError: A hash that this build does not have.
        """
        return hash_function(self.payload.get(HASH_NAME, DEFAULT_HASH))

    @property
    def disclosures(self) -> tuple[Disclosure, ...]:
        """What the holder shows, decoded, in the order presented.

        Raises:
            MalformedError: See `read_disclosures`.
        """
        return as_disclosures(self.encoded_disclosures, self._read())

    def _read(self) -> Contents:
        if self._contents is None:
            hashing = self.hashing
            encoded = self.encoded_disclosures
            self._contents = read_disclosures(encoded, hashing) if encoded else {}
        return self._contents

    def unverified_claims(self) -> dict[str, Json]:
        """Return the processed payload (§7.1 step 3), signature unchecked.

        Raises:
            MalformedError: A payload or disclosure that breaks a rule.
            VerificationError: A disclosure that no digest refers to.
        """
        if self._claims is None:
            claims = disclose(self.payload, self._read())
            if self.encoded_disclosures and self.jws.header.get("typ") == TYP:
                _check_concealed(claims, self.payload)
            self._claims = claims
        return self._claims

    def undisclosed(self) -> frozenset[str]:
        """Return the digests of which nothing is shown; see `disclosure.undisclosed`.

        Raises:
            MalformedError: As `unverified_claims`.
        """
        return undisclosed(self.payload, self._read())

    def check_disclosures(self) -> None:
        """Check what `unverified_claims` checks, without putting claims together.

        Raises:
            MalformedError: As `unverified_claims`.
            VerificationError: As `unverified_claims`.
        """
        if self.encoded_disclosures:
            self.unverified_claims()
            return
        payload = self.payload
        if payload.get(HASH_NAME, DEFAULT_HASH) != DEFAULT_HASH:
            hash_function(payload[HASH_NAME])
        check_undisclosed(payload)

    def verify(self, key: PublicKey, *, typ: str | None = TYP) -> VerifiedSdJwt:
        """Check type, algorithm, signature, then every disclosure (§7.1).

        Validity, status, key binding and whether the issuer may issue this are
        other questions: `check_validity`, `statuslist`, `keybinding`, and the
        verdict.

        Args:
            key: A key whose trust record the caller has consulted.
            typ: The exact type demanded; ``None`` to demand none.

        Raises:
            MalformedError: A payload or disclosure that breaks a rule.
            VerificationError: Another type (``TYP``) or algorithm, a signature
                that does not hold, or a disclosure that no digest refers to.
        """
        self.jws.verify(key, typ=typ)
        return VerifiedSdJwt(self.unverified_claims(), self)

    def select(self, keep: Callable[[Path], bool]) -> SdJwt:
        """Return this token with fewer disclosures and no key binding (§7.2).

        Args:
            keep: Told the path of each disclosed value, says whether to show
                it. What a value stands in is shown with it.

        Raises:
            MalformedError: As `unverified_claims`.
            VerificationError: As `unverified_claims`.
        """
        self.unverified_claims()
        contents = self._read()
        kept = chosen(locate(self.payload, contents), keep)
        encoded = tuple(
            text
            for text, digest in zip(self.encoded_disclosures, contents, strict=True)
            if digest in kept
        )
        return SdJwt(jws=self.jws, encoded_disclosures=encoded, key_binding=None)

    def to_text(self, *, key_binding: bool = True) -> str:
        """Return the compact form; without key binding, what ``sd_hash`` covers."""
        tail = self.key_binding if key_binding and self.key_binding is not None else ""
        return "~".join([self.jws.token, *self.encoded_disclosures, tail])

    def __repr__(self) -> str:
        return f"SdJwt({len(self.encoded_disclosures)} disclosures)"


@dataclass(frozen=True, slots=True, repr=False)
class VerifiedSdJwt:
    """A token whose signature and disclosures hold under the key that was given."""

    claims: dict[str, Json]
    """The processed payload: what is always shown and what was disclosed."""
    sd_jwt: SdJwt
    """What was verified."""

    @property
    def disclosed_paths(self) -> frozenset[Path]:
        """Where the values stand that the holder chose to show."""
        places = locate(self.sd_jwt.payload, self.sd_jwt._read())
        return frozenset(place.path for place in places.values())


def _check_concealed(claims: dict[str, Json], payload: dict[str, Json]) -> None:
    if not NEVER_CONCEALED.isdisjoint(claims.keys() - payload.keys()):
        raise MalformedError(
            "SD-JWT VC: iss, nbf, exp, cnf, vct and status are never disclosed selectively",
            reason="CONCEALED_CLAIM",
        )


def parse(presentation: str | bytes, *, max_bytes: int = MAX_PRESENTATION_BYTES) -> SdJwt:
    """Parse a compact presentation (§4); signature and disclosures come later.

    Args:
        presentation: ``jwt~disclosure~…~`` and perhaps a key-binding JWT; the
            last ``~`` is there even without disclosures.
        max_bytes: Bound on all of it; the JWT has `jose`'s own.

    Raises:
        MalformedError: Not of this form, too large, or a JWT that `jose`
            refuses.
    """
    if len(presentation) > max_bytes:
        raise MalformedError(f"SD-JWT: more than {max_bytes} bytes", reason="TOO_LARGE")
    try:
        text = presentation if isinstance(presentation, str) else presentation.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("SD-JWT: a character outside ASCII", reason="BASE64URL") from error
    if 0 < text.find("~") == len(text) - 1:
        # What a verifier of many licences meets most: nothing is disclosed.
        return SdJwt(jws=parse_compact(text[:-1]), encoded_disclosures=(), key_binding=None)
    parts = text.split("~", MAX_DISCLOSURES + 2)
    if len(parts) == 1:
        raise MalformedError("SD-JWT: no ~ after the JWT", reason="SD_JWT_FORM")
    if len(parts) > MAX_DISCLOSURES + 2:
        raise MalformedError(f"SD-JWT: more than {MAX_DISCLOSURES} disclosures", reason="TOO_LARGE")
    key_binding = parts.pop() or None
    if key_binding is not None and key_binding.count(".") != 2:
        # Most likely a disclosure that lost its ~ in copying.
        raise MalformedError("SD-JWT: what follows the last ~ is no JWT", reason="SD_JWT_FORM")
    return SdJwt(
        jws=parse_compact(parts[0]), encoded_disclosures=parts[1:], key_binding=key_binding
    )


def check_validity(claims: Mapping[str, Json], now: datetime) -> None:
    """Check ``exp`` and ``nbf`` (RFC 7519 §4.1.4, §4.1.5), where present.

    Args:
        claims: Processed claims.
        now: The moment asked about, timezone-aware.

    Raises:
        MalformedError: Not a number (``NUMERIC_DATE``).
        VerificationError: ``NOT_YET_VALID`` or ``EXPIRED``.
    """
    moment = now.timestamp()
    if moment < _numeric_date(claims, "nbf", moment):
        raise VerificationError("SD-JWT: not yet valid", reason="NOT_YET_VALID")
    if moment >= _numeric_date(claims, "exp", moment + 1):
        raise VerificationError("SD-JWT: expired", reason="EXPIRED")


def _numeric_date(claims: Mapping[str, Json], name: str, absent: float) -> float:
    value = claims.get(name, absent)
    if type(value) is not int and type(value) is not float:
        raise MalformedError(f"SD-JWT: {name} is not a number", reason="NUMERIC_DATE")
    return value
