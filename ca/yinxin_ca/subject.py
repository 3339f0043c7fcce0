"""Whom a certificate is for: names, checked before anything is signed.

No certificate carries a person's number: authorities are named by their public
credit code, principals by an opaque identifier.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from yinxin_proto.checkdigit import citizen_id_check
from yinxin_proto.error import InvalidArgumentError, Violation
from yinxin_proto.number import is_credit_code

_MAX_TEXT: Final = 64
_DIGIT_RUN: Final = re.compile(r"[0-9]{15}")
_SPACED: Final = re.compile(r"(?=([0-9]{17}[0-9X]))")
"""Every citizen number's length of digits, overlapping ones too."""
_PRINCIPAL_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DNS_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL}(?:\.{_DNS_LABEL})*\Z")


class NameRule(StrEnum):
    """Which subject alternative names a certificate carries."""

    NONE = "none"
    HOST = "host"
    """DNS names and IP addresses, one at least."""
    PRINCIPAL = "principal"
    """Exactly one URI, which names who calls."""
    LOG = "log"
    """Exactly one URI, which names a log by its origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate is for; C=CN goes without saying.

    Raises:
        InvalidArgumentError: An empty or overlong text, a control character, a
            run of 15 digits as in a person's number, or a wrong credit code;
            every fault at once (reason ``SUBJECT``).
    """

    organisation: str
    """O, at most 64 characters (RFC 5280 appendix A, ub-organization-name)."""
    organisation_code: str | None = None
    """organizationIdentifier (X.520 §6.2.10): an authority's credit code, as it is."""
    common_name: str | None = None
    """CN, at most 64 characters."""

    def __post_init__(self) -> None:
        found = [_text_violation("organisation", self.organisation)]
        if self.common_name is not None:
            found.append(_text_violation("common_name", self.common_name))
        if self.organisation_code is not None:
            found.append(_code_violation(self.organisation_code))
        if violations := [violation for violation in found if violation is not None]:
            raise InvalidArgumentError(
                "the certificate's subject is unacceptable",
                reason="SUBJECT",
                violations=violations,
            )

    def to_name(self) -> x509.Name:
        """Return the distinguished name: C, O, organizationIdentifier, CN."""
        attributes = [
            (NameOID.COUNTRY_NAME, "CN"),
            (NameOID.ORGANIZATION_NAME, self.organisation),
            (NameOID.ORGANIZATION_IDENTIFIER, self.organisation_code),
            (NameOID.COMMON_NAME, self.common_name),
        ]
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes if text])


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternativeNames:
    """Names besides the subject's (RFC 5280 §4.2.1.6).

    Raises:
        InvalidArgumentError: A DNS name that is not in lower-case preferred
            syntax, a text that is no IP address, or a URI that is not https
            with a host and a path (reason ``ALTERNATIVE_NAME``).
    """

    dns: tuple[str, ...] = ()
    """DNS names, lower case, no wildcard."""
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6 addresses."""
    uri: str | None = None
    """A principal (see `principal_uri`), or a log by its origin."""

    def __post_init__(self) -> None:
        for name in self.dns:
            if _DNS_NAME.match(name) is None:
                raise _wrong_name("a DNS name is lower-case letters, digits and hyphens")
        for address in self.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise _wrong_name("not an IP address") from None
        if self.uri is not None and not _is_https(self.uri):
            raise _wrong_name("a URI is https://<host>/<path> in ASCII")

    @property
    def _is_log(self) -> bool:
        return self.uri is not None and urlsplit(self.uri).path.startswith("/log/")

    def check(self, rule: NameRule) -> None:
        """Refuse names that a profile's rule does not allow.

        Raises:
            InvalidArgumentError: Missing, or not of the kind (``NAME_RULE``).
        """
        hosts = len(self.dns) + len(self.addresses)
        allowed = {
            NameRule.NONE: hosts == 0 and self.uri is None,
            NameRule.HOST: hosts > 0 and self.uri is None,
            NameRule.PRINCIPAL: hosts == 0 and self.uri is not None and not self._is_log,
            NameRule.LOG: hosts == 0 and self._is_log,
        }
        if not allowed[rule]:
            raise InvalidArgumentError(
                f"the profile's rule for alternative names is: {rule}", reason="NAME_RULE"
            )

    def to_general_names(self) -> list[x509.GeneralName]:
        """Return them as X.509 has them; empty when there are none."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in self.addresses]
        if self.uri is not None:
            names.append(x509.UniformResourceIdentifier(self.uri))
        return names


def principal_uri(domain: str, principal_id: str) -> str:
    """Return the URI that names a principal of a region in its TLS certificate.

    Args:
        domain: The region's domain.
        principal_id: Opaque: lower-case letters, digits and hyphens, at most
            63; never a person's number.

    Raises:
        InvalidArgumentError: Either is unacceptable (``ALTERNATIVE_NAME``).
    """
    if _DNS_NAME.match(domain) is None:
        raise _wrong_name("a domain is lower-case letters, digits and hyphens")
    if _PRINCIPAL_ID.match(principal_id) is None or _holds_number(principal_id):
        raise _wrong_name(
            "a principal's identifier is at most 63 lower-case letters, digits and hyphens, "
            "and no person's number"
        )
    return f"https://{domain}/principals/{principal_id}"


def _wrong_name(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="ALTERNATIVE_NAME")


def _is_https(uri: str) -> bool:
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return False
    try:
        parts = urlsplit(uri)
        return (
            parts.scheme == "https"
            and _DNS_NAME.match(parts.hostname or "") is not None
            and parts.username is None
            and len(parts.path) > 1
        )
    except ValueError:
        return False


def _holds_number(text: str) -> bool:
    """Whether a text holds a run of digits as in a person's number, or a spaced-out number."""
    plain = unicodedata.normalize("NFKC", text)
    if _DIGIT_RUN.search(plain):
        return True
    closed = "".join(filter(str.isalnum, plain)).upper()
    return any(citizen_id_check(found[:17]) == found[17] for found in _SPACED.findall(closed))


def _text_violation(field: str, text: str) -> Violation | None:
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        return Violation(field, f"1 to {_MAX_TEXT} printable characters", "SUBJECT_TEXT")
    if _holds_number(text):
        return Violation(field, "no certificate carries a person's number", "SUBJECT_NUMBER")
    return None


def _code_violation(code: str) -> Violation | None:
    if is_credit_code(code):
        return None
    return Violation(
        "organisation_code", "a unified social credit code in capital letters", "CREDIT_CODE"
    )
