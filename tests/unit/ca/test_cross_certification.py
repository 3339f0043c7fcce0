"""One authority under two issuers: either path holds, and neither is wider than it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from support.hierarchy import AUTHORITY, Hierarchy
from yinxin_ca.authority import CertificateAuthority, create_root, to_pem
from yinxin_ca.profile import (
    CROSS_LICENCE_CA,
    LICENCE,
    LICENCE_CA,
    TLS_CLIENT,
    Profile,
)
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import CertificatePurpose, check_permitted, parse, verify_chain
from yinxin_proto.error import YinxinError
from yinxin_proto.nameconstraint import PermittedNames
from yinxin_proto.signature import PublicKey, SigningKey
from yinxin_proto.suite import ES256


def _root(region: Hierarchy, name: str, key: SigningKey | None = None) -> CertificateAuthority:
    return create_root(
        subject=Subject(organisation=name, common_name="Root CA"),
        signer=key or ES256.generate(),
        register=InMemoryRegister(),
        clock=region.clock,
        entropy=region.entropy,
    )


def _key_of(authority: CertificateAuthority) -> PublicKey:
    return ES256.load_public(parse(authority.certificate).spki)


def _cross(
    region: Hierarchy,
    root: CertificateAuthority,
    profile: Profile = CROSS_LICENCE_CA,
    permitted: PermittedNames | None = None,
) -> bytes:
    return root.cross_certify(
        region.licences.certificate,
        profile=profile,
        public_key=_key_of(region.licences),
        permitted=permitted,
    )


def _reason(act: Callable[[], object]) -> str:
    with pytest.raises(YinxinError) as caught:
        act()
    return caught.value.reason


@pytest.fixture
def region() -> Hierarchy:
    return Hierarchy()


def test_a_leaf_verifies_over_both_paths(region: Hierarchy) -> None:
    province = _root(region, "虚构省")
    cross = _cross(region, province)
    leaf = region.licence_certificate()
    for certificate, root in ((region.licences.certificate, region.root), (cross, province)):
        chain = [parse(leaf), parse(certificate)]
        verify_chain(chain, parse(root.certificate), ES256, at=region.clock.now())
    first, second = parse(region.licences.certificate), parse(cross)
    assert (first.subject, first.spki, first.subject_key_id) == (
        second.subject,
        second.spki,
        second.subject_key_id,
    )
    assert first.issuer != second.issuer


def test_openssl_verifies_both_paths(region: Hierarchy, tmp_path: Path) -> None:
    province = _root(region, "虚构省")
    cross = _cross(region, province)
    (tmp_path / "leaf.pem").write_bytes(to_pem([region.licence_certificate()]))
    for name, root, middle in (
        ("region", region.root, region.licences.certificate),
        ("province", province, cross),
    ):
        anchor, chain = tmp_path / f"{name}.pem", tmp_path / f"{name}-ca.pem"
        anchor.write_bytes(to_pem([root.certificate]))
        chain.write_bytes(to_pem([middle]))
        words = ["openssl", "verify", "-x509_strict", "-no_check_time"]
        words += ["-CAfile", str(anchor), "-untrusted", str(chain)]
        done = subprocess.run(
            [*words, str(tmp_path / "leaf.pem")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_nothing_below_names_one_issuer_by_its_serial_number(region: Hierarchy) -> None:
    cross = x509.load_der_x509_certificate(_cross(region, _root(region, "虚构省")))
    leaf = x509.load_der_x509_certificate(region.licence_certificate())
    for certificate in (cross, leaf):
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert named.key_identifier is not None
        assert named.authority_cert_issuer is None
        assert named.authority_cert_serial_number is None


def test_an_old_root_and_a_new_one_both_vouch_for_a_licence_ca(region: Hierarchy) -> None:
    # A root is replaced: licences keep their chains, and verify under either.
    following = _root(region, "莆田市（示例）")
    cross = _cross(region, following)
    leaf = region.licence_certificate()
    verify_chain(
        [parse(leaf), parse(cross)], parse(following.certificate), ES256, at=region.clock.now()
    )


def test_a_constrained_authority_names_nobody_outside(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    profile = replace(
        CROSS_LICENCE_CA,
        purposes=(CertificatePurpose.TLS_SERVER, CertificatePurpose.TLS_CLIENT),
    )
    permitted = PermittedNames.under("putian.example")
    cross = parse(
        root.cross_certify(
            region.tls.certificate,
            profile=profile,
            public_key=_key_of(region.tls),
            permitted=permitted,
        )
    )
    assert cross.permitted == permitted
    for host, fits in (
        ("putian.example", True),
        ("licences.putian.example", True),
        ("xiamen.example", False),
        ("notputian.example", False),
    ):
        leaf = region.tls.issue(
            TLS_CLIENT,
            subject=Subject(organisation="虚构"),
            public_key=ES256.generate().public_key,
            names=AlternativeNames(uri=f"https://{host}/principals/a"),
        )
        path = [parse(leaf), cross]
        if fits:
            check_permitted(path)
            verify_chain(path, parse(root.certificate), ES256, at=region.clock.now())
        else:
            assert _reason(lambda path=path: check_permitted(path)) == "CHAIN_PERMITTED_NAMES"  # type: ignore[misc]


def test_openssl_reads_our_name_constraints(region: Hierarchy, tmp_path: Path) -> None:
    cross = _cross(region, _root(region, "虚构省"), permitted=PermittedNames.under("a.example"))
    path = tmp_path / "cross.pem"
    path.write_bytes(to_pem([cross]))
    words = ["openssl", "x509", "-in", str(path), "-noout", "-ext", "nameConstraints"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "critical" in shown
    assert "DNS:a.example" in shown


def test_a_cross_certificate_is_no_wider_than_the_first(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    wider = replace(CROSS_LICENCE_CA, purposes=(CertificatePurpose.STATUS_SIGNING,))
    assert _reason(lambda: _cross(region, root, wider)) == "CROSS_PURPOSE"
    longer = replace(CROSS_LICENCE_CA, path_length=1)
    assert _reason(lambda: _cross(region, root, longer)) in {"CROSS_SUBJECT", "ISSUER_PURPOSE"}
    assert _reason(lambda: _cross(region, root, LICENCE_CA)) == "CROSS_SUBJECT"


def test_what_is_no_authority_is_not_cross_certified(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    leaf = region.licence_certificate()
    key = ES256.load_public(parse(leaf).spki)
    act = lambda: root.cross_certify(leaf, profile=CROSS_LICENCE_CA, public_key=key)  # noqa: E731
    assert _reason(act) == "CROSS_SUBJECT"


def test_another_key_under_the_name_is_not_cross_certified(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    stranger = ES256.generate().public_key
    assert (
        _reason(
            lambda: root.cross_certify(
                region.licences.certificate, profile=CROSS_LICENCE_CA, public_key=stranger
            )
        )
        == "CROSS_SUBJECT"
    )


def test_nobody_cross_certifies_itself(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    act = lambda: root.cross_certify(  # noqa: E731
        root.certificate,
        profile=replace(CROSS_LICENCE_CA, purposes=()),
        public_key=_key_of(root),
    )
    assert _reason(act) == "ISSUER_NAME_REUSE"


def test_it_lives_no_longer_than_either_certificate(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    cross, first = parse(_cross(region, root)), parse(region.licences.certificate)
    assert cross.not_after <= min(first.not_after, parse(root.certificate).not_after)
    region.clock.set(first.not_after)
    region.clock.advance(days=1)
    assert _reason(lambda: _cross(region, root)) == "CROSS_VALIDITY"


def test_a_cross_certificate_issues_for_its_purpose_alone(region: Hierarchy) -> None:
    root = _root(region, "虚构省")
    narrow = replace(CROSS_LICENCE_CA, purposes=(CertificatePurpose.LICENCE_SIGNING,))
    cross = parse(_cross(region, root, narrow))
    leaf = region.licences.issue(LICENCE, subject=AUTHORITY, public_key=ES256.generate().public_key)
    verify_chain([parse(leaf), cross], parse(root.certificate), ES256, at=region.clock.now())
