"""Approval keys that authorities bring: each is new, its holder's alone, and known to nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import TYPE, SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import YinxinError
from yinxin_proto.signature import PublicKey
from yinxin_proto.suite import ES256
from yinxin_trust.keyinventory import versions
from yinxin_trust.registration import NewAuthority
from yinxin_trust.revocation import registers_of, revoke_certificates_of_key

NEW = "11350300MB00000009"


@pytest.fixture(scope="module")
def small() -> Iterator[SmallRegion]:
    """For what is refused, and leaves no trace."""
    with SmallRegion.found() as region:
        yield region


def _everybodys(_: SmallRegion) -> PublicKey:
    return ES256.load_deterministic(1).public_key


def _another_authoritys(small: SmallRegion) -> PublicKey:
    return small.approval_keys[OTHER_AUTHORITY].public_key


def _its_tls_key(small: SmallRegion) -> PublicKey:
    key = ES256.generate().public_key
    small.region.registrar.certify_principal("issuer-7d", key)
    return key


def _the_regions(small: SmallRegion) -> PublicKey:
    return small.region.keyring.signer(Purpose.STATUS).public_key


def _stolen(small: SmallRegion) -> PublicKey:
    key, region = _its_tls_key(small), small.region
    compromise = RevocationReason.KEY_COMPROMISE
    revoke_certificates_of_key(registers_of(region), key.spki, compromise, region.clock.now())
    return key


KEYS = [
    pytest.param(_everybodys, "KEY_WEAK", id="weak"),
    pytest.param(_another_authoritys, "KEY_REUSE", id="another authority's"),
    pytest.param(_its_tls_key, "KEY_REUSE", id="its TLS key"),
    pytest.param(_the_regions, "KEY_REUSE", id="the region's"),
    pytest.param(_stolen, "KEY_COMPROMISED", id="stolen"),
]


@pytest.mark.parametrize(("make", "reason"), KEYS)
def test_an_authority_is_not_added_with_a_key_that_others_have(
    make: Callable[[SmallRegion], PublicKey], reason: str, small: SmallRegion
) -> None:
    added = NewAuthority(code=NEW, name="虚构机构", types=(TYPE,), approval_key=make(small))
    with pytest.raises(YinxinError) as refused:
        small.region.registrar.add_authority(added)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("make", "reason"), KEYS)
def test_an_approval_key_is_not_followed_by_one_that_others_have(
    make: Callable[[SmallRegion], PublicKey], reason: str, small: SmallRegion
) -> None:
    rotation = small.region.rotation()
    with pytest.raises(YinxinError) as refused:
        rotation.accept(AUTHORITY, Purpose.APPROVAL, make(small))
    assert refused.value.reason == reason
    with small.region.storage.read() as conn:
        assert len(versions(conn, AUTHORITY, Purpose.APPROVAL)) == 1
