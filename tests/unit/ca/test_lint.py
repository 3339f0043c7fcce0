"""One attack per rule: what is about to be signed, wrong in one way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.hierarchy import AUTHORITY, DOMAIN, Hierarchy
from yinxin_ca import assembly, der, profile
from yinxin_ca.authority import CertificateAuthority, examine
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.lint import RULES, lint_certificate, lint_crl, under_throw_away_key
from yinxin_ca.location import Extension, Locations
from yinxin_ca.profile import LICENCE, OCSP_RESPONDER, TLS_CLIENT, Profile
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.der import elements
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.suite import ES256

REGION = Hierarchy()
ISSUER = parse(REGION.licences.certificate)
KEY = ES256.generate().public_key
AKI = x509.AuthorityKeyIdentifier(ISSUER.subject_key_id, None, None)
START = REGION.clock.now()


@dataclass(frozen=True)
class Made:
    """What was made, by whatever went wrong; the rule expects the profile LICENCE."""

    draft: assembly.Draft = field(
        default_factory=lambda: assembly.Draft(
            profile=LICENCE,
            subject=AUTHORITY,
            names=AlternativeNames(),
            public_key=KEY,
            serial=1 << 158,
            not_before=START,
            not_after=START + timedelta(days=30),
        )
    )
    extensions: tuple[Extension, ...] = ((AKI, False),)
    change: Callable[[list[bytes]], None] = lambda _: None
    issuer: bytes = ISSUER.subject

    def tbs(self) -> bytes:
        made = assembly.certificate_tbs(
            self.draft, issuer=self.issuer, extensions=self.extensions, suite=ES256
        )
        fields = elements(made)
        self.change(fields)
        return der.sequence(*fields)

    def findings(self) -> set[str]:
        found = lint_certificate(
            under_throw_away_key(self.tbs(), ES256), profile=LICENCE, issuer=ISSUER, suite=ES256
        )
        return {violation.reason for violation in found}


def _made(made: Profile | None = None, **changes: object) -> Made:
    draft = Made().draft
    if made is not None:
        changes["profile"] = made
    return Made(draft=replace(draft, **changes))  # type: ignore[arg-type]


def _more(*extensions: Extension) -> Made:
    return Made(extensions=((AKI, False), *extensions))


def _point(**changes: object) -> Extension:
    arguments: dict[str, object] = {
        "full_name": [x509.UniformResourceIdentifier(f"http://{DOMAIN}/a.crl")],
        "relative_name": None,
        "reasons": None,
        "crl_issuer": None,
    }
    point = x509.DistributionPoint(**arguments | changes)  # type: ignore[arg-type]
    return x509.CRLDistributionPoints([point]), False


def _nameless(fields: list[bytes]) -> None:
    fields[5] = der.sequence()


def _without_key(fields: list[bytes]) -> None:
    fields[6] = elements(x509_rsa())[6]


def x509_rsa() -> bytes:
    """Return the TBS of a certificate of a kind of key that is read, never issued."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    signer = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]))
        .public_key(rsa_key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(START)
        .sign(signer, hashes.SHA256())
        .tbs_certificate_bytes
    )


_STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.999.7"), b"\x05\x00")
_URI = x509.UniformResourceIdentifier
_AKI_WITH_NUMBER = x509.AuthorityKeyIdentifier(ISSUER.subject_key_id, [_URI("http://x/y")], 5)
_WITHIN = x509.NameConstraints([x509.DNSName("licences.example.cn")], None)
ATTACKS = {
    "SERIAL": _made(serial=5),
    "ISSUER_NAME": Made(issuer=parse(REGION.tls.certificate).subject),
    "VALIDITY": _made(not_after=START + timedelta(days=4000)),
    "SUBJECT": Made(change=_nameless),
    "KEY": Made(change=_without_key),
    "KEY_IDENTIFIERS": Made(extensions=()),
    "KEY_USAGE": _made(replace(LICENCE, key_usage=profile.STATUS.key_usage)),
    "PURPOSES": _made(replace(LICENCE, critical_purposes=True)),
    "BASIC_CONSTRAINTS": _made(replace(LICENCE, path_length=0)),
    "NAMES": _made(names=AlternativeNames(dns=("evil.example",))),
    "PERMITTED_NAMES": _more((_WITHIN, True)),
    "NO_CHECK": _made(replace(LICENCE, answers_status=True)),
    "LOCATIONS": _more(_point(full_name=[_URI(f"https://{DOMAIN}/a.crl")])),
    "EXTENSIONS": _more((_STRANGE, False)),
}


def test_what_is_right_breaks_no_rule() -> None:
    assert Made().findings() == set()


@pytest.mark.parametrize("code", ATTACKS)
def test_each_fault_is_found_by_its_rule(code: str) -> None:
    assert code in ATTACKS[code].findings()


def test_every_rule_has_its_attack() -> None:
    # The algorithm is the one that the throw-away key signs with.
    assert {rule.code for rule in RULES} - {"ALGORITHM"} == {*ATTACKS}


@pytest.mark.parametrize(
    "made",
    [
        _made(not_after=START),
        _made(replace(LICENCE, purposes=(*LICENCE.purposes, *TLS_CLIENT.purposes))),
        _more(_point(reasons=frozenset({x509.ReasonFlags.key_compromise}))),
        _more((_STRANGE, True)),
        Made(
            extensions=(
                (
                    x509.AuthorityKeyIdentifier(ISSUER.subject_key_id, [_URI("http://x/y")], 5),
                    False,
                ),
            )
        ),
    ],
)
def test_other_faults_are_found_too(made: Made) -> None:
    assert made.findings() != set()


def test_a_certificate_under_another_algorithm_is_found() -> None:
    der_ = REGION.licence_certificate()

    class Other:
        name = "other"

        def x509_signature_oid(self) -> x509.ObjectIdentifier:
            return x509.ObjectIdentifier("1.2.156.10197.1.501")

    found = lint_certificate(der_, profile=LICENCE, issuer=ISSUER, suite=Other())  # type: ignore[arg-type]
    assert [violation.reason for violation in found] == ["ALGORITHM"]


def test_a_finding_refuses_with_every_finding_listed() -> None:
    made = _made(serial=5, not_after=START)
    with pytest.raises(InvalidArgumentError) as refused:
        examine(made.tbs(), profile=LICENCE, issuer=ISSUER, suite=ES256)
    assert refused.value.reason == "LINT"
    assert {violation.reason for violation in refused.value.violations} == {"SERIAL", "VALIDITY"}
    assert "RFC 5280" in str(refused.value)


# --- the order: examined, recorded, signed, recorded ---------------------------


class Watched(InMemoryRegister):
    """A register that notes what happens, and crashes where it is told to."""

    def __init__(self, events: list[str], crash: str = "") -> None:
        super().__init__()
        self.events, self.crash = events, crash

    def record_intent(self, serial: int, profile: str, tbs: bytes) -> None:
        self._happens("intent")
        super().record_intent(serial, profile, tbs)

    def record_issued(self, serial: int, der: bytes) -> None:
        self._happens("issued")
        super().record_issued(serial, der)

    def record_crl(self, number: int, tbs: bytes) -> None:
        self._happens("crl")
        super().record_crl(number, tbs)

    def _happens(self, event: str) -> None:
        if event == self.crash:
            raise KeyboardInterrupt
        self.events.append(event)


class WatchedSigner:
    """The authority's key, which notes that it was used."""

    def __init__(self, events: list[str], *, dies: bool = False) -> None:
        self._key = REGION.keys.signer(KeyRef("350399", Purpose.LICENCE_CA))
        self.public_key = self._key.public_key
        self._events, self._dies = events, dies

    def sign(self, message: bytes) -> bytes:
        self._events.append("signed")
        if self._dies:
            raise KeyboardInterrupt
        return self._key.sign(message)


def _authority(
    register: InMemoryRegister, signer: WatchedSigner, locations: Locations | None = None
) -> CertificateAuthority:
    return CertificateAuthority(
        certificate=REGION.licences.certificate,
        signer=signer,
        register=register,
        clock=REGION.clock,
        entropy=REGION.entropy,
        locations=locations,
    )


def _issue(authority: CertificateAuthority, subject: Subject = AUTHORITY) -> bytes:
    return authority.issue(LICENCE, subject=subject, public_key=KEY)


def test_what_breaks_a_rule_is_neither_recorded_nor_signed() -> None:
    events: list[str] = []
    register = Watched(events)
    authority = _authority(register, WatchedSigner(events))
    # A fault of ours: a profile that says one thing while another was meant.
    broken = replace(LICENCE, validity=timedelta(seconds=1))
    with pytest.raises(InvalidArgumentError) as refused:
        authority.issue(broken, subject=AUTHORITY, public_key=KEY)
    assert refused.value.reason == "LINT"
    assert events == []
    assert register.records() == ()


def test_a_certificate_is_recorded_before_it_is_signed() -> None:
    events: list[str] = []
    _issue(_authority(Watched(events), WatchedSigner(events)))
    assert events == ["intent", "signed", "issued"]


def test_a_crash_before_the_record_signs_nothing() -> None:
    events: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _issue(_authority(Watched(events, crash="intent"), WatchedSigner(events)))
    assert events == []


@pytest.mark.parametrize("where", ["signing", "issued"])
def test_a_crash_after_the_record_leaves_what_is_to_be_revoked(where: str) -> None:
    events: list[str] = []
    register = Watched(events, crash="issued" if where == "issued" else "")
    authority = _authority(register, WatchedSigner(events, dies=where == "signing"))
    with pytest.raises(KeyboardInterrupt):
        _issue(authority)
    (left,) = register.unfinished()
    authority.revoke(left.serial, RevocationReason.UNSPECIFIED)
    assert left.spki == KEY.spki


def test_a_list_is_recorded_before_it_is_signed() -> None:
    events: list[str] = []
    authority = _authority(Watched(events), WatchedSigner(events))
    authority.sign_crl(lifetime=timedelta(days=1))
    assert events == ["crl", "signed"]
    with pytest.raises(KeyboardInterrupt):
        _authority(Watched(events, crash="crl"), WatchedSigner(events)).sign_crl(
            lifetime=timedelta(days=1)
        )
    assert events == ["crl", "signed"]


def test_a_list_of_another_issuer_or_with_a_revocation_to_come_is_found() -> None:
    region = Hierarchy()
    serial = parse(region.licence_certificate()).serial_number
    region.licences.revoke(serial, RevocationReason.SUPERSEDED)
    own = parse(region.licences.certificate)
    good = region.licences.sign_crl(lifetime=timedelta(days=1))
    assert lint_crl(good, issuer=own, suite=ES256) == []
    other = parse(region.tls.certificate)
    found = {v.reason for v in lint_crl(good, issuer=other, suite=ES256)}
    assert found == {"ISSUER_NAME", "KEY_IDENTIFIERS"}
    region.clock.advance(days=-1)
    early = region.licences.sign_crl
    with pytest.raises(InvalidArgumentError) as refused:
        early(lifetime=timedelta(days=1))
    assert [v.reason for v in refused.value.violations] == ["REVOKED_AT"]


def test_a_responder_is_certified_by_each_issuing_authority() -> None:
    region = Hierarchy()
    for authority in (region.licences, region.status, region.tls, region.seals, region.members):
        certificate = parse(region.responder_certificate(authority))
        assert certificate.purposes == frozenset(map(str, OCSP_RESPONDER.purposes))
