"""What is about to be signed, examined: every rule of ours that it breaks.

A certificate or list that is wrong cannot be taken back, so it is assembled,
signed with a throw-away key, read back and examined as its readers will see
it, before anything is recorded or the real key is used. The rules are those of
RFC 5280 that a fault of ours could break, and that what is said is what the
profile says. pkilint, which knows many more, goes over every profile in the
tests: it would cost seconds of start-up here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from yinxin_ca import der
from yinxin_ca.profile import Profile
from yinxin_ca.subject import NameRule
from yinxin_proto.certificate import Certificate, CertificatePurpose, parse
from yinxin_proto.crl import parse_crl
from yinxin_proto.der import elements
from yinxin_proto.error import InvalidArgumentError, MalformedError, Violation, YinxinError
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.signature import Suite
from yinxin_proto.suite import names, suite

_SERIAL_BITS: Final = range(64, 160)
_MAX_ATTRIBUTE: Final = 64
_KNOWN: Final = frozenset(
    {
        x509.KeyUsage.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.BasicConstraints.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
        x509.CRLDistributionPoints.oid,
        x509.AuthorityInformationAccess.oid,
        x509.OCSPNoCheck.oid,
        x509.NameConstraints.oid,
    }
)
_ACCESS: Final = {
    AuthorityInformationAccessOID.OCSP,
    AuthorityInformationAccessOID.CA_ISSUERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A certificate under a throw-away signature, and what it was meant to be."""

    certificate: Certificate
    parsed: x509.Certificate
    profile: Profile
    issuer: Certificate | None
    """Its issuer; None for a root, which is its own."""
    suite: Suite
    """Of the issuer's key."""

    def find(self, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType] | None:
        """Return the extension of a kind, if there is one."""
        found: x509.Extension[x509.ExtensionType]
        for found in self.parsed.extensions:
            if isinstance(found.value, kind):
                return found
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that every certificate obeys."""

    code: str
    """Stable; the reason of a violation."""
    clause: str
    """Where it is written."""
    demand: str
    """What would be right."""
    holds: Callable[[Exhibit], bool]


def _serial(x: Exhibit) -> bool:
    return x.certificate.serial_number.bit_length() in _SERIAL_BITS


def _algorithm(x: Exhibit) -> bool:
    return x.certificate.signature_oid == x.suite.x509_signature_oid()


def _issuer_name(x: Exhibit) -> bool:
    above = x.certificate.subject if x.issuer is None else x.issuer.subject
    return x.certificate.issuer == above and x.certificate.issuer != der.sequence()


def _validity(x: Exhibit) -> bool:
    found = x.certificate
    if not found.not_before < found.not_after or x.issuer is None:
        return found.not_before < found.not_after
    within = x.issuer.not_before <= found.not_before and found.not_after <= x.issuer.not_after
    return within and found.not_after - found.not_before <= x.profile.validity


def _subject(x: Exhibit) -> bool:
    attributes = list(x.parsed.subject)
    if x.profile.is_cross:
        # Somebody else chose it, and what is below depends on it.
        return bool(attributes)
    texts = [str(attribute.value) for attribute in attributes]
    return (
        bool(attributes)
        and attributes[0].oid == NameOID.COUNTRY_NAME
        and attributes[0].value == "CN"
        and len({attribute.oid for attribute in attributes}) == len(attributes)
        and all(0 < len(text) <= _MAX_ATTRIBUTE and text.isprintable() for text in texts)
    )


def _key(x: Exhibit) -> bool:
    # A cosigner's key is of no suite: nothing but checkpoints is signed with it.
    is_cosigner = CertificatePurpose.CHECKPOINT_SIGNING in x.profile.purposes
    suites: list[Suite] = [suite(name) for name in names()]
    if is_cosigner and not x.profile.is_authority:
        suites = [ML_DSA_44]
    for found in suites:
        try:
            found.load_public(x.certificate.spki)
        except MalformedError:
            continue
        return True
    return False


def _key_identifiers(x: Exhibit) -> bool:
    own = sha256(der.bits(elements(x.certificate.spki)[1])).digest()[:20]
    above = None if x.issuer is None else x.issuer.subject_key_id
    extension = x.find(x509.AuthorityKeyIdentifier)
    named = extension.value if extension is not None else None
    if isinstance(named, x509.AuthorityKeyIdentifier) and named.authority_cert_issuer is not None:
        return False
    if x.profile.is_cross:
        own = x.certificate.subject_key_id or own
    return x.certificate.subject_key_id == own and x.certificate.authority_key_id == above


def _key_usage(x: Exhibit) -> bool:
    found = x.find(x509.KeyUsage)
    return found is not None and found.critical and found.value == x.profile.key_usage


def _purposes(x: Exhibit) -> bool:
    found, wanted = x.find(x509.ExtendedKeyUsage), frozenset(map(str, x.profile.purposes))
    if found is None:
        return not wanted
    return x.certificate.purposes == wanted and found.critical is x.profile.critical_purposes


def _basic_constraints(x: Exhibit) -> bool:
    found = x.find(x509.BasicConstraints)
    if x.profile.path_length is None:
        return found is None
    return (
        found is not None
        and found.critical
        and found.value == x509.BasicConstraints(ca=True, path_length=x.profile.path_length)
    )


def _names(x: Exhibit) -> bool:
    extension = x.find(x509.SubjectAlternativeName)
    found = list(extension.value) if extension is not None else []  # type: ignore[call-overload]
    kinds = {type(name) for name in found}
    one_uri = len(found) == 1 and kinds == {x509.UniformResourceIdentifier}
    allowed = {
        NameRule.NONE: not found and extension is None,
        NameRule.HOST: bool(found) and kinds <= {x509.DNSName, x509.IPAddress},
        NameRule.PRINCIPAL: one_uri,
        NameRule.LOG: one_uri,
    }
    return allowed[x.profile.names]


def _no_check(x: Exhibit) -> bool:
    return (x.find(x509.OCSPNoCheck) is not None) is x.profile.answers_status


def _locations(x: Exhibit) -> bool:
    urls: list[object] = []
    points = x.find(x509.CRLDistributionPoints)
    if points is not None and isinstance(points.value, x509.CRLDistributionPoints):
        for point in points.value:
            if point.reasons is not None or point.crl_issuer is not None or not point.full_name:
                return False
            urls += point.full_name
    access = x.find(x509.AuthorityInformationAccess)
    if access is not None and isinstance(access.value, x509.AuthorityInformationAccess):
        if any(entry.access_method not in _ACCESS for entry in access.value):
            return False
        urls += [entry.access_location for entry in access.value]
    return all(
        isinstance(url, x509.UniformResourceIdentifier) and urlsplit(url.value).scheme == "http"
        for url in urls
    )


def _permitted(x: Exhibit) -> bool:
    found = x.find(x509.NameConstraints)
    return found is None or (found.critical and x.profile.is_authority)


def _extensions(x: Exhibit) -> bool:
    return all(extension.oid in _KNOWN for extension in x.parsed.extensions)


RULES: Final = (
    Rule("SERIAL", "RFC 5280 §4.1.2.2", "a serial number of 64 to 159 bits", _serial),
    Rule("ALGORITHM", "RFC 5280 §4.1.1.2", "the algorithm of the issuer's suite", _algorithm),
    Rule("ISSUER_NAME", "RFC 5280 §4.1.2.4", "the issuer's own subject as issuer", _issuer_name),
    Rule("VALIDITY", "RFC 5280 §4.1.2.5", "within the issuer's and the profile's", _validity),
    Rule("SUBJECT", "RFC 5280 §4.1.2.6", "C=CN first, each attribute once, in bounds", _subject),
    Rule("KEY", "RFC 5280 §4.1.2.7", "a key of a suite of this build", _key),
    Rule(
        "KEY_IDENTIFIERS",
        "RFC 5280 §4.2.1.1, §4.2.1.2",
        "the key's own identifier, and the issuer's without its name and number",
        _key_identifiers,
    ),
    Rule("KEY_USAGE", "RFC 5280 §4.2.1.3", "the profile's, critical", _key_usage),
    Rule("PURPOSES", "RFC 5280 §4.2.1.12", "the profile's extended key usage", _purposes),
    Rule("BASIC_CONSTRAINTS", "RFC 5280 §4.2.1.9", "the profile's", _basic_constraints),
    Rule("NAMES", "RFC 5280 §4.2.1.6", "alternative names as the profile has them", _names),
    Rule("PERMITTED_NAMES", "RFC 5280 §4.2.1.10", "critical, on authorities alone", _permitted),
    Rule("NO_CHECK", "RFC 6960 §4.2.2.2.1", "ocsp-nocheck on responders alone", _no_check),
    Rule("LOCATIONS", "RFC 5280 §4.2.1.13, §4.2.2.1", "plain http URLs", _locations),
    Rule("EXTENSIONS", "RFC 5280 §4.2", "no extension that no profile has", _extensions),
)
"""Every rule."""


def lint_certificate(
    encoded: bytes, *, profile: Profile, issuer: Certificate | None, suite: Suite
) -> list[Violation]:
    """Return every rule that a certificate breaks.

    Args:
        encoded: The DER certificate, whoever signed it.
        profile: What it was meant to be.
        issuer: Whose certificate it is to be; None for a root.
        suite: Of the issuer's key.
    """
    try:
        exhibit = Exhibit(
            certificate=parse(encoded),
            parsed=x509.load_der_x509_certificate(encoded),
            profile=profile,
            issuer=issuer,
            suite=suite,
        )
    except YinxinError as error:
        return [Violation("certificate", error.message, error.reason)]
    return list(_broken(exhibit))


def _broken(exhibit: Exhibit) -> Iterator[Violation]:
    for rule in RULES:
        if not rule.holds(exhibit):
            yield Violation("certificate", f"{rule.demand} ({rule.clause})", rule.code)


def lint_crl(encoded: bytes, *, issuer: Certificate, suite: Suite) -> list[Violation]:
    """Return every rule that a revocation list breaks, whoever signed it."""
    try:
        found = parse_crl(encoded)
    except YinxinError as error:
        return [Violation("crl", error.message, error.reason)]
    said = found.content
    keys = [
        extension.value.key_identifier
        for extension in found.parsed.extensions
        if isinstance(extension.value, x509.AuthorityKeyIdentifier)
    ]
    checks = (
        ("ISSUER_NAME", "the issuer's own subject", said.issuer == issuer.subject),
        ("KEY_IDENTIFIERS", "the issuer's key identifier", keys == [issuer.subject_key_id]),
        (
            "ALGORITHM",
            "the algorithm of the issuer's suite",
            found.parsed.signature_algorithm_oid == suite.x509_signature_oid(),
        ),
        ("NUMBER", "a number of 1 to 159 bits", 1 <= said.number.bit_length() < 160),
        ("VALIDITY", "thisUpdate before nextUpdate", said.this_update < said.next_update),
        ("ENTRIES", "each serial number once", len(found.parsed) == len(said.entries)),
        (
            "REVOKED_AT",
            "no revocation after thisUpdate",
            all(entry.revoked_at <= said.this_update for entry in said.entries.values()),
        ),
    )
    return [Violation("crl", demand, code) for code, demand, holds in checks if not holds]


def under_throw_away_key(tbs: bytes, suite: Suite) -> bytes:
    """Return what is to be signed as its readers will see it, but signed by nobody.

    The key is made here and forgotten: what it signed chains to nothing.
    """
    key = suite.generate()
    signature = suite.to_x509_signature(key.sign(tbs))
    return der.signed(tbs, suite.x509_signature_oid(), signature)


def refuse(what: str, findings: list[Violation]) -> None:
    """Refuse to sign what breaks a rule.

    Raises:
        InvalidArgumentError: There is a finding (reason ``LINT``); all are listed.
    """
    if findings:
        raise InvalidArgumentError(
            f"the {what} breaks rules that its readers hold it to; nothing was signed",
            reason="LINT",
            violations=findings,
        )
