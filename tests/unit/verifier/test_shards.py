"""A verdict never passes by looking at the wrong shard of a revocation list."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.hierarchy import DOMAIN, Hierarchy
from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.location import shard_of
from yinxin_proto.certificate import CertificatePurpose, parse
from yinxin_proto.crl import RevocationList, RevocationReason, parse_crl
from yinxin_proto.suite import ES256
from yinxin_proto.trustlist import Anchors, TrustList
from yinxin_verifier.certification import Certification, Certifier

DAY = timedelta(days=1)


class Case:
    """A licence certificate in a region whose lists have shards."""

    def __init__(self) -> None:
        self.region = Hierarchy()
        self.region.locate_licences(shards=2)
        self.leaf = parse(self.region.licence_certificate())

    def lists(self) -> dict[str, RevocationList]:
        made = {"root": self.region.root.sign_crl(lifetime=DAY)}
        made |= self.region.licences.sign_crls(lifetime=DAY)
        issuers = {"root": self.region.root}
        return {
            name: parse_crl(der).verify(
                parse(issuers.get(name, self.region.licences).certificate), suite=ES256
            )
            for name, der in made.items()
        }

    def certify(self, *revocations: RevocationList) -> Certification:
        trust_list = TrustList(
            region="350399",
            domain=DOMAIN,
            issued_at=int(self.region.clock.now().timestamp()),
            anchors=Anchors(
                root=self.region.root.certificate,
                licence=(self.region.licences.certificate,),
                status=(self.region.status.certificate,),
                tls=(self.region.tls.certificate,),
            ),
            authorities=(),
            status_keys=(),
            logs=(),
        )
        certifier = Certifier(
            trust_list=trust_list,
            purpose=CertificatePurpose.LICENCE_SIGNING,
            revocations=revocations,
        )
        found = certifier.certify([self.leaf], None)
        assert isinstance(found, Certification)
        return found

    @property
    def own(self) -> str:
        return shard_of(self.leaf.crl_urls[0])

    @property
    def other(self) -> str:
        return {"-s0": "-s1", "-s1": "-s0"}[self.own]


@pytest.fixture
def case() -> Case:
    return Case()


def test_the_shard_that_a_certificate_names_is_enough(case: Case) -> None:
    lists = case.lists()
    found = case.certify(lists["root"], lists[case.own])
    assert found.revocation_issued_at is not None
    assert found.revoked_at is None


@pytest.mark.parametrize("present", ["other", "", "other and base"])
def test_another_shard_says_nothing_of_it(case: Case, present: str) -> None:
    lists = case.lists()
    wrong = {"other": [case.other], "": [""], "other and base": [case.other, ""]}[present]
    found = case.certify(lists["root"], *(lists[name] for name in wrong))
    assert found.revocation_issued_at is None
    assert found.revocation_until == 0


def test_a_fresh_list_of_another_shard_does_not_make_an_old_one_fresh(case: Case) -> None:
    old = case.lists()
    case.region.clock.advance(DAY * 30)
    new = case.lists()
    found = case.certify(new["root"], old[case.own], new[case.other], new[""])
    assert found.revocation_issued_at == int(old[case.own].this_update.timestamp())
    assert found.revocation_until == int(old[case.own].next_update.timestamp())


def test_a_revocation_on_its_shard_counts(case: Case) -> None:
    case.region.licences.revoke(case.leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    lists = case.lists()
    assert case.certify(*lists.values()).revoked_at is not None
    assert case.certify(lists["root"], lists[case.own]).revoked_at is not None


def test_a_leaf_of_a_certificate_without_address_needs_the_complete_list() -> None:
    case = Case()
    case.region.licences = _bare(case.region)
    case.leaf = parse(case.region.licence_certificate())
    case.region.locate_licences(shards=2)
    lists = case.lists()
    assert case.certify(lists["root"], lists[""]).revocation_issued_at is not None
    assert case.certify(lists["root"], lists["-s0"], lists["-s1"]).revocation_issued_at is None


def _bare(region: Hierarchy) -> CertificateAuthority:
    return CertificateAuthority(
        certificate=region.licences.certificate,
        signer=region.keys.signer(KeyRef("350399", Purpose.LICENCE_CA)),
        register=region.registers[Purpose.LICENCE_CA],
        clock=region.clock,
        entropy=region.entropy,
    )
