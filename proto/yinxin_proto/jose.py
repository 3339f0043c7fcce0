"""Compact JWS (RFC 7515): the one JOSE parser of this project.

It accepts what this project writes and little else. Headers that let a
message choose its key (``jwk``, ``jku``, ``x5u``), change what is signed
(``b64``, ``crit``), hide something (``zip``, ``enc``) or claim no or a shared
secret (``none``, ``HS*``) are refused before a key is looked at. The
signature is then checked under the suite of the *key*: the ``alg`` of the
message must name it and decides nothing.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import Json, b64url_decode, b64url_encode, parse_json_object

MAX_TOKEN_BYTES: Final = 65_536
MAX_HEADER_BYTES: Final = 32_768
MAX_HEADER_DEPTH: Final = 4
MAX_CERTIFICATES: Final = 6
MAX_CERTIFICATE_BYTES: Final = 8_192

_EMBEDDED_KEYS: Final = frozenset({"jwk", "jku", "x5u"})
_UNSUPPORTED: Final = frozenset({"crit", "b64", "zip", "enc"})
_RESERVED: Final = _EMBEDDED_KEYS | _UNSUPPORTED | {"alg", "typ"}
_TEXTS: Final = ("typ", "cty")
_NO_HEADER: Final[Mapping[str, Json]] = MappingProxyType({})


class UnverifiedJws(NamedTuple):
    """A well-formed JWS of which nothing is believed yet."""

    token: str
    """The compact serialisation, exactly as received."""
    header: Mapping[str, Json]
    """The protected header; a read-only view, shared between equal headers."""
    payload: bytes
    """The payload, decoded; ``signing_input`` holds it as signed."""
    signing_input: bytes
    """ASCII(header ‖ "." ‖ payload), what the signature covers."""
    signature: bytes
    """The signature, in the JOSE form of the suite that ``alg`` claims."""

    def verify(self, key: PublicKey, *, typ: str | None) -> None:
        """Check type, algorithm and signature, in this order.

        RFC 7515 §5.2, RFC 8725 §3.1 (algorithm) and §3.11 (explicit typing).

        Args:
            key: A key whose trust record the caller has consulted; its suite
                decides the algorithm.
            typ: The exact ``typ`` that the message must carry; ``None`` only
                where a format has none.

        Raises:
            VerificationError: Another type (``TYP``), another algorithm than
                the key's (``ALGORITHM``), or a signature that does not hold.
        """
        header = self.header
        if typ is not None and header.get("typ") != typ:
            raise VerificationError(f"JWS: the typ is not {typ}", reason="TYP")
        if header["alg"] != key.suite.jose_alg:
            raise VerificationError(
                f"JWS: the alg is not {key.suite.jose_alg}, the key's own", reason="ALGORITHM"
            )
        key.verify(self.signature, self.signing_input)


def parse_compact(token: str | bytes, *, max_bytes: int = MAX_TOKEN_BYTES) -> UnverifiedJws:
    """Parse a compact serialisation (RFC 7515 §7.1).

    Args:
        token: ``header.payload.signature``, each canonical base64url.
        max_bytes: Bound on the whole token.

    Raises:
        MalformedError: Not three parts, an empty header or signature, a
            header that this profile refuses, or larger than ``max_bytes``.
    """
    if len(token) > max_bytes:
        raise MalformedError(f"JWS: more than {max_bytes} bytes", reason="TOO_LARGE")
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        prefix, header = _LATEST[0]
        if not text.startswith(prefix):
            prefix, header = text[: text.find(".") + 1], None
        raw = text.encode("ascii")
        start, end = len(prefix), raw.rfind(b".")
        payload = raw[start:end]
        if start < 2 or end < start or end == len(raw) - 1 or b"." in payload:
            raise MalformedError("JWS: three parts were expected", reason="JWS_PARTS")
        if header is None:
            header = _parse_header(prefix[:-1])
            _LATEST[0] = prefix, header
        return UnverifiedJws(
            text, header, b64url_decode(payload), raw[:end], b64url_decode(raw[end + 1 :])
        )
    except UnicodeError as error:
        raise MalformedError("JWS: a character outside ASCII", reason="BASE64URL") from error


# Every licence of an authority carries the same header, byte for byte, with
# the same certificates in it: parsing it once is a fifth of a verification.
@lru_cache(maxsize=64)
def _parse_header(part: str) -> Mapping[str, Json]:
    data = b64url_decode(part, max_bytes=MAX_HEADER_BYTES)
    header = parse_json_object(data, max_depth=MAX_HEADER_DEPTH)
    refused = header.keys() & _RESERVED
    if refused & _EMBEDDED_KEYS:
        raise MalformedError("JWS: a key in the header is never used", reason="JWS_EMBEDDED_KEY")
    if refused & _UNSUPPORTED:
        raise MalformedError("JWS: crit, b64, zip and enc are refused", reason="JWS_HEADER")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or not algorithm:
        raise MalformedError("JWS: alg must be a string", reason="JWS_ALGORITHM")
    if algorithm.lower() == "none" or algorithm.upper().startswith("HS"):
        raise MalformedError(
            "JWS: unsigned tokens and shared secrets are refused", reason="JWS_ALGORITHM"
        )
    if any(not isinstance(header.get(name, ""), str) for name in _TEXTS):
        raise MalformedError("JWS: typ and cty must be strings", reason="JWS_HEADER")
    # A number is no kid (RFC 7515 §4.1.4), but the SD-JWT authors' own tokens
    # have them, and nothing here chooses a key by it.
    if not isinstance(header.get("kid", ""), str | int):
        raise MalformedError("JWS: kid must be a string", reason="JWS_HEADER")
    return MappingProxyType(header)


# The header parsed last, with its dot. Comparing the start of a token with it
# costs a tenth of cutting it out and hashing it.
_LATEST: Final[list[tuple[str, Mapping[str, Json] | None]]] = [(".", None)]


def sign_compact(
    signer: Signer, *, typ: str, header: Mapping[str, Json] = _NO_HEADER, payload: bytes
) -> str:
    """Sign ``payload`` and return the compact serialisation.

    Args:
        signer: Its suite gives ``alg``.
        typ: Explicit type of the message (RFC 8725 §3.11).
        header: Further protected members, such as ``kid`` and ``x5c``.
        payload: The exact bytes to be signed.

    Raises:
        InvalidArgumentError: ``header`` names a member that is set here or
            that `parse_compact` refuses, or a value that JSON cannot express.
    """
    return sign_encoded(signer, encode_header(signer, typ=typ, header=header), payload)


def encode_header(signer: Signer, *, typ: str, header: Mapping[str, Json] = _NO_HEADER) -> str:
    """Encode a protected header; see `sign_compact` for arguments and errors.

    An issuer's header carries its certificates and never changes: encoding it
    once saves a seventh of an issue.
    """
    if header.keys() & _RESERVED:
        raise InvalidArgumentError(
            "JWS: the header must not set alg, typ or a refused member", reason="JWS_HEADER"
        )
    members = {"alg": signer.public_key.suite.jose_alg, "typ": typ, **header}
    try:
        text = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return b64url_encode(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError("JWS: the header is not JSON", reason="JWS_HEADER") from error


def sign_encoded(signer: Signer, encoded_header: str, payload: bytes) -> str:
    """Sign ``payload`` under a header that `encode_header` made for this signer."""
    signing_input = f"{encoded_header}.{b64url_encode(payload)}"
    return f"{signing_input}.{b64url_encode(signer.sign(signing_input.encode('ascii')))}"


def x5c_chain(header: Mapping[str, Json]) -> tuple[bytes, ...]:
    """Return the certificates of ``x5c`` as DER, leaf first (RFC 7515 §4.1.6).

    Nothing about them is believed: a chain is only a proposal.

    Raises:
        MalformedError: No ``x5c``, not 1 to 6 strings of canonical standard
            base64, or a certificate of more than 8 KiB.
    """
    chain = header.get("x5c")
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CERTIFICATES:
        raise MalformedError(
            f"JWS: x5c must hold 1 to {MAX_CERTIFICATES} certificates", reason="JWS_X5C"
        )
    if any(not isinstance(text, str) for text in chain):
        raise MalformedError("JWS: x5c holds strings", reason="JWS_X5C")
    return _decode_chain(tuple(chain))


@lru_cache(maxsize=64)
def _decode_chain(chain: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(map(_decode_certificate, chain))


def _decode_certificate(text: str) -> bytes:
    if len(text) * 3 // 4 > MAX_CERTIFICATE_BYTES:
        raise MalformedError(
            f"JWS: a certificate of more than {MAX_CERTIFICATE_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise MalformedError("JWS: x5c is not standard base64", reason="JWS_X5C") from error
    if not data or binascii.b2a_base64(data, newline=False).decode("ascii") != text:
        raise MalformedError("JWS: x5c is not canonical base64", reason="JWS_X5C")
    return data


def encode_x5c(chain: tuple[bytes, ...]) -> list[str]:
    """Return DER certificates, leaf first, as the value of ``x5c``."""
    return [binascii.b2a_base64(der, newline=False).decode("ascii") for der in chain]
