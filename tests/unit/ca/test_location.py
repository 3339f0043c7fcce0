"""Shards: which list a certificate is on, and which list speaks for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.hierarchy import AUTHORITY, DOMAIN, Hierarchy
from support.lint import lint_crl
from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.location import Locations, shard_of
from yinxin_ca.profile import LICENCE
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationList, RevocationReason, parse_crl
from yinxin_proto.error import ConfigurationError
from yinxin_proto.suite import ES256

DAY = timedelta(days=1)
BASE = f"http://{DOMAIN}/crl/licence.crl"


class Sharded:
    """The licence authority of an invented region, with as many shards as it is told."""

    def __init__(self) -> None:
        self.region = Hierarchy()
        self.own = parse(self.region.licences.certificate)

    def open(self, shards: int, crl: str | None = BASE) -> CertificateAuthority:
        return CertificateAuthority(
            certificate=self.own.der,
            signer=self.region.keys.signer(KeyRef("350399", Purpose.LICENCE_CA)),
            register=self.region.registers[Purpose.LICENCE_CA],
            clock=self.region.clock,
            entropy=self.region.entropy,
            locations=Locations(crl=crl, shards=shards),
        )

    def issue(self, shards: int, crl: str | None = BASE) -> Certificate:
        key = ES256.generate().public_key
        return parse(self.open(shards, crl).issue(LICENCE, subject=AUTHORITY, public_key=key))

    def lists(self, shards: int, crl: str | None = BASE) -> dict[str, RevocationList]:
        made = self.open(shards, crl).sign_crls(lifetime=DAY)
        return {shard: parse_crl(der).verify(self.own, suite=ES256) for shard, der in made.items()}


@pytest.fixture
def office() -> Sharded:
    return Sharded()


def test_one_shard_is_one_complete_list(office: Sharded) -> None:
    leaf = office.issue(1)
    office.open(1).revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    lists = office.lists(1)
    assert {*lists} == {""}
    assert lists[""].addresses == ()
    assert lists[""].covers(leaf)
    assert leaf.serial_number in lists[""].entries


def test_a_certificate_is_on_the_list_that_it_names_and_on_no_other(office: Sharded) -> None:
    leaves = [office.issue(4) for _ in range(12)]
    for leaf in leaves:
        office.open(4).revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    lists = office.lists(4)
    assert {*lists} == {"", "-s0", "-s1", "-s2", "-s3"}
    for leaf in leaves:
        (own,) = [shard for shard, listed in lists.items() if listed.covers(leaf)]
        assert own == f"-s{leaf.serial_number % 4}" == shard_of(leaf.crl_urls[0])
        assert [s for s, listed in lists.items() if leaf.serial_number in listed.entries] == [own]


def test_an_expired_certificate_stays_on_its_shard(office: Sharded) -> None:
    leaf = office.issue(4)
    office.open(4).revoke(leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    office.region.clock.advance(days=4 * 365)
    assert leaf.serial_number in office.lists(4)[shard_of(leaf.crl_urls[0])].entries


def test_certificates_keep_their_list_when_the_number_of_shards_changes(office: Sharded) -> None:
    kept = [office.issue(shards) for shards in (1, 2, 4, 1)]
    for leaf in kept:
        office.open(2).revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    for shards in (1, 2, 8):
        lists = office.lists(shards)
        for leaf in kept:
            (speaking,) = [listed for listed in lists.values() if listed.covers(leaf)]
            assert leaf.serial_number in speaking.entries


def test_while_a_certificate_names_no_list_the_authoritys_own_is_complete(office: Sharded) -> None:
    bare, placed = office.issue(1, crl=None), office.issue(4)
    for leaf in (bare, placed):
        office.open(4).revoke(leaf.serial_number, RevocationReason.SUPERSEDED)
    lists = office.lists(4)
    assert lists[""].addresses == ()
    assert {*lists[""].entries} == {bare.serial_number, placed.serial_number}
    assert [shard for shard, listed in lists.items() if listed.covers(bare)] == [""]


def test_a_list_names_every_address_that_it_ever_had(office: Sharded) -> None:
    moved = "http://elsewhere.example/crl/licence.crl"
    old, new = office.issue(4), office.issue(4, crl=moved)
    lists = office.lists(4, crl=moved)
    assert lists[shard_of(old.crl_urls[0])].covers(old)
    assert lists[shard_of(new.crl_urls[0])].covers(new)


def test_pkilint_finds_nothing_in_a_shard(office: Sharded) -> None:
    leaf = office.issue(2)
    office.open(2).revoke(leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    for der in office.open(2).sign_crls(lifetime=DAY).values():
        assert lint_crl(der) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://licences.example.cn/a.crl",
        "http://licences.example.cn",
        "http:///a.crl",
        "http://u:p@licences.example.cn/a.crl",
        "http://licences.example.cn/a b.crl",
        "http://licences.example.cn/证.crl",
        "http://licences.example.cn/a.crl?x=1",
        "http://[::1/a.crl",
        "http://licences.example.cn/" + "a" * 300,
        "ldap://licences.example.cn/a.crl",
    ],
)
def test_only_plain_http_urls_go_into_certificates(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Locations(crl=url)


@pytest.mark.parametrize(("shards", "crl"), [(0, BASE), (5000, BASE), (2, None), (2, "http://a/b")])
def test_shards_are_bounded_and_need_an_address(shards: int, crl: str | None) -> None:
    with pytest.raises(ConfigurationError):
        Locations(crl=crl, shards=shards)
