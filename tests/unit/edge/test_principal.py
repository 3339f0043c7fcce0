"""Attacks on who calls: each certificate is wrong in one way."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import FixedClock
from support.connection import pem, tls_anchor
from support.hierarchy import DOMAIN, ORGANISATION, Hierarchy
from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.profile import LICENCE_CA, STATUS, TLS_CLIENT, TLS_SERVER, Profile
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_edge.principal import MAX_KNOWN_PEERS, PeerVerifier
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.error import UnauthenticatedError
from yinxin_proto.suite import ES256

NAME = AlternativeNames(uri=principal_uri(DOMAIN, "housing-bureau"))


@pytest.fixture(scope="module")
def region() -> Hierarchy:
    return Hierarchy()


@pytest.fixture(scope="module")
def other() -> Hierarchy:
    return Hierarchy()


def _never(certificate: Certificate) -> bool:
    return False


def _verifier(
    region: Hierarchy, is_revoked: Callable[[Certificate], bool] = _never
) -> PeerVerifier:
    return PeerVerifier(
        anchors={DOMAIN: [tls_anchor(region)]}, clock=region.clock, is_revoked=is_revoked
    )


def _certify(
    authority: CertificateAuthority,
    profile: Profile = TLS_CLIENT,
    names: AlternativeNames = NAME,
) -> bytes:
    return pem(
        authority.issue(
            profile,
            subject=Subject(organisation=ORGANISATION, common_name="housing-bureau"),
            public_key=ES256.generate().public_key,
            names=names,
        )
    )


def _reason(verifier: PeerVerifier, certificate: bytes) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        verifier.verify(certificate)
    return caught.value.reason


def test_a_certified_principal_is_named(region: Hierarchy) -> None:
    certificate = _certify(region.tls)
    principal = _verifier(region).verify(certificate)
    assert principal.uri == f"https://{DOMAIN}/principals/housing-bureau"
    assert (principal.domain, principal.identifier) == (DOMAIN, "housing-bureau")
    assert len(principal.certificate_hash) == 32


def test_the_right_name_from_another_regions_ca_is_refused(
    region: Hierarchy, other: Hierarchy
) -> None:
    both = PeerVerifier(
        anchors={DOMAIN: [tls_anchor(region)], "peer.example.cn": [tls_anchor(other)]},
        clock=region.clock,
        is_revoked=_never,
    )
    assert _reason(both, _certify(other.tls)) == "PEER_CHAIN"


def test_a_region_may_have_several_anchors(region: Hierarchy, other: Hierarchy) -> None:
    rotating = PeerVerifier(
        anchors={DOMAIN: [tls_anchor(other), tls_anchor(region)]},
        clock=region.clock,
        is_revoked=_never,
    )
    assert rotating.verify(_certify(region.tls)).identifier == "housing-bureau"


def test_a_region_that_is_not_known_is_refused(region: Hierarchy) -> None:
    names = AlternativeNames(uri=principal_uri("elsewhere.example.cn", "housing-bureau"))
    assert _reason(_verifier(region), _certify(region.tls, names=names)) == "PEER_REGION_UNKNOWN"


@pytest.mark.parametrize(
    "uri",
    [
        f"https://{DOMAIN}/principals/",
        f"https://{DOMAIN}/principals/a/b",
        f"https://{DOMAIN}/principals/Housing",
        f"https://{DOMAIN}/authorities/housing-bureau",
        f"https://{DOMAIN}/principals/housing-bureau?x=1",
        f"https://{DOMAIN}:444/principals/housing-bureau",
        f"https://{DOMAIN}/principals/housing-bureau#x",
    ],
)
def test_a_uri_of_another_form_names_nobody(region: Hierarchy, uri: str) -> None:
    certificate = _certify(region.tls, names=AlternativeNames(uri=uri))
    assert _reason(_verifier(region), certificate) == "PEER_NAME"


def test_a_servers_certificate_is_no_principals(region: Hierarchy) -> None:
    names = AlternativeNames(dns=("localhost",))
    assert _reason(_verifier(region), _certify(region.tls, TLS_SERVER, names)) == "PEER_NAME"


def test_a_certificate_for_another_purpose_is_refused(region: Hierarchy) -> None:
    with_uri = Profile(
        name="x",
        validity=STATUS.validity,
        key_usage=STATUS.key_usage,
        purposes=STATUS.purposes,
        names=TLS_CLIENT.names,
    )
    assert _reason(_verifier(region), _certify(region.status, with_uri)) == "PEER_PURPOSE"


def test_an_anchor_that_certifies_licences_certifies_no_caller(region: Hierarchy) -> None:
    wrong = PeerVerifier(
        anchors={DOMAIN: [parse(region.licences.certificate)]},
        clock=region.clock,
        is_revoked=_never,
    )
    assert LICENCE_CA.purposes != TLS_CLIENT.purposes
    assert _reason(wrong, _certify(region.tls)) == "PEER_CHAIN"


def test_a_remembered_certificate_still_expires() -> None:
    region = Hierarchy()
    verifier, certificate = _verifier(region), _certify(region.tls)
    verifier.verify(certificate)
    region.clock.advance(TLS_CLIENT.validity + timedelta(days=1))
    assert _reason(verifier, certificate) == "PEER_EXPIRED"
    assert _reason(_verifier(region), certificate) == "PEER_EXPIRED"


def test_a_certificate_of_the_future_is_refused() -> None:
    region = Hierarchy()
    certificate = _certify(region.tls)
    region.clock.advance(timedelta(days=-2))
    assert _reason(_verifier(region), certificate) == "PEER_EXPIRED"


def test_a_remembered_certificate_is_still_revoked(region: Hierarchy) -> None:
    revoked: set[str] = set()
    verifier = _verifier(region, lambda certificate: certificate.fingerprint.hex() in revoked)
    certificate, spared = _certify(region.tls), _certify(region.tls)
    first = verifier.verify(certificate)
    verifier.verify(spared)
    revoked.add(first.certificate_hash.hex())
    assert _reason(verifier, certificate) == "PEER_REVOKED"
    assert verifier.verify(spared).identifier == "housing-bureau"


def test_nothing_remembered_survives_other_anchors(region: Hierarchy, other: Hierarchy) -> None:
    verifier, certificate = _verifier(region), _certify(region.tls)
    verifier.verify(certificate)
    verifier.replace_anchors({DOMAIN: [tls_anchor(other)]})
    assert _reason(verifier, certificate) == "PEER_CHAIN"


def test_a_certificate_is_examined_once_and_memory_is_bounded(region: Hierarchy) -> None:
    verifier, certificate = _verifier(region), _certify(region.tls)
    first = verifier.verify(certificate)
    assert verifier.verify(certificate) is first
    # The same certificate in other bytes is another entry, up to the bound.
    for number in range(MAX_KNOWN_PEERS + 5):
        verifier._known[b"%d" % number] = verifier._known[certificate]
    verifier.verify(_certify(region.tls))
    assert len(verifier._known) <= MAX_KNOWN_PEERS


@pytest.fixture(scope="module")
def der(region: Hierarchy) -> bytes:
    return region.client_certificate()


# A flipped sign of the serial number is refused here, and warned of by the library.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(position=st.integers(min_value=0, max_value=8 * 900))
def test_one_flipped_bit_never_authenticates(region: Hierarchy, der: bytes, position: int) -> None:
    flipped = bytearray(der)
    flipped[position // 8 % len(der)] ^= 1 << (position % 8)
    text = base64.encodebytes(bytes(flipped))
    block = b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"
    with pytest.raises(UnauthenticatedError):
        _verifier(region).verify(block)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_typed_error(data: bytes) -> None:
    bare = PeerVerifier(anchors={}, clock=FixedClock(), is_revoked=_never)
    assert _reason(bare, data) == "PEER_CERTIFICATE_MALFORMED"
