"""An authority with two certificates of one key: the verdict accepts either path."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from support.region_builder import RegionBuilder
from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.profile import CROSS_LICENCE_CA
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import CertificatePurpose, parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import VerificationError
from yinxin_proto.suite import ES256
from yinxin_proto.trustlist import TrustList
from yinxin_verifier.assembly import read_revocations
from yinxin_verifier.certification import Certification, Certifier
from yinxin_verifier.reason import Finding


@pytest.fixture
def region() -> RegionBuilder:
    return RegionBuilder()


def _root(region: RegionBuilder) -> CertificateAuthority:
    return create_root(
        subject=Subject(organisation="虚构省", common_name="Root CA"),
        signer=ES256.generate(),
        register=InMemoryRegister(),
        clock=region.clock,
        entropy=region.entropy,
    )


def _cross(region: RegionBuilder, root: CertificateAuthority) -> bytes:
    first = region.hierarchy.licences.certificate
    return root.cross_certify(
        first, profile=CROSS_LICENCE_CA, public_key=ES256.load_public(parse(first).spki)
    )


def _listed(region: RegionBuilder, root: bytes, *licence: bytes) -> TrustList:
    listed = region.trust_list()
    return dataclasses.replace(
        listed, anchors=dataclasses.replace(listed.anchors, root=root, licence=licence)
    )


def _certifier(listed: TrustList, *crls: bytes) -> Certifier:
    return Certifier(
        trust_list=listed,
        purpose=CertificatePurpose.LICENCE_SIGNING,
        revocations=read_revocations(listed, crls),
    )


def _certify(certifier: Certifier, *chain: bytes) -> Certification | Finding:
    return certifier.certify([parse(der) for der in chain], None)


def test_a_chain_of_the_old_root_passes_under_the_new_one(region: RegionBuilder) -> None:
    following = _root(region)
    cross = _cross(region, following)
    certifier = _certifier(_listed(region, following.certificate, cross))
    leaf, old = region.chain
    for chain in (
        (leaf, old),
        (leaf, cross),
        (leaf,),
        (leaf, old, region.hierarchy.root.certificate),
    ):
        assert isinstance(_certify(certifier, *chain), Certification)


def test_a_chain_of_the_new_root_passes_under_the_old_one(region: RegionBuilder) -> None:
    hierarchy = region.hierarchy
    cross = _cross(region, _root(region))
    certifier = _certifier(
        _listed(region, hierarchy.root.certificate, hierarchy.licences.certificate)
    )
    assert isinstance(_certify(certifier, region.chain[0], cross), Certification)


def test_an_anchor_that_the_root_did_not_sign_is_refused(region: RegionBuilder) -> None:
    # Whoever has the trust role's keys alone cannot bring in another's authority.
    cross = _cross(region, _root(region))
    listed = _listed(region, region.hierarchy.root.certificate, cross)
    with pytest.raises(VerificationError):
        _certifier(listed)


def test_a_cross_certificate_that_the_root_revoked_counts_no_more(region: RegionBuilder) -> None:
    following = _root(region)
    cross = _cross(region, following)
    following.revoke(parse(cross).serial_number, RevocationReason.CA_COMPROMISE)
    crl = following.sign_crl(lifetime=timedelta(days=400))
    certifier = _certifier(_listed(region, following.certificate, cross), crl)
    found = _certify(certifier, *region.chain)
    assert isinstance(found, Certification)
    assert found.revoked_at == int(region.clock.now().timestamp())


def test_a_chain_to_nobody_is_no_path(region: RegionBuilder) -> None:
    other = RegionBuilder()
    certifier = _certifier(region.trust_list())
    assert isinstance(_certify(certifier, *other.chain), Finding)
