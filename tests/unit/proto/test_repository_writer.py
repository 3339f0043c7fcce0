"""The writer: versions that rise, k of n people, and nothing that is refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from support.trust_repository import PublishedRepository, key, role_keys, standard_keys
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    VerificationError,
)
from yinxin_proto.repository_key import TufSigner, tuf_key
from yinxin_proto.repository_metadata import DELEGATED, TOP_LEVEL
from yinxin_proto.repository_writer import RepositoryWriter, RoleKeys, cosign


@pytest.fixture
def published() -> PublishedRepository:
    return PublishedRepository()


def test_versions_rise_and_what_did_not_change_stays(published: PublishedRepository) -> None:
    published.update("status", {"status/a1.jwt": b"newer"})
    view = published.load()
    assert view.versions == {
        "root": 1,
        "targets": 1,
        "status": 2,
        "crl": 1,
        "catalogue": 1,
        "snapshot": 2,
        "timestamp": 2,
    }
    assert view.target("status/a1.jwt") == b"newer"
    assert view.target("status/b2.jwt") == b"status list b2"


def test_none_takes_a_target_away(published: PublishedRepository) -> None:
    published.update("status", {"status/a1.jwt": None, "status/never-was.jwt": None})
    assert published.load().paths("status") == ("status/b2.jwt",)


def test_only_new_files_are_returned_and_the_timestamp_last(
    published: PublishedRepository,
) -> None:
    writer = published.writer()
    writer.write_targets("status", {"status/c3.jwt": b"c3"}, signers=published.keys["status"])
    new = list(published.publish(writer))
    assert [path.split("/")[0] for path in new] == ["targets", *["metadata"] * 3]
    assert new[1:] == [
        "metadata/2.status.json",
        "metadata/2.snapshot.json",
        "metadata/timestamp.json",
    ]


def test_a_writer_publishes_what_it_staged_once_only_if_it_is_referred_to(
    published: PublishedRepository,
) -> None:
    writer = published.writer()
    writer.stage("status/unused.jwt", b"unused")
    assert not any("unused" in path for path in published.publish(writer))


def test_several_root_rotations_in_one_piece_of_work_are_published(
    published: PublishedRepository,
) -> None:
    writer = published.writer()
    for secret in (301, 302):
        old = published.keys["root"]
        published.keys["root"] = [key(secret)]
        writer.write_root(published.holders(TOP_LEVEL), signers=[*old, key(secret)])
    new = published.publish(writer)
    assert {"metadata/2.root.json", "metadata/3.root.json"} <= set(new)
    assert published.load().versions["root"] == 3


def test_two_of_three_people_sign_a_draft_one_after_the_other() -> None:
    people = [key(311), key(312), key(313)]
    published = PublishedRepository(
        keys={**standard_keys(), "targets": people}, thresholds={"targets": 2}
    )
    draft = published.writer().draft_targets("targets", {"trust.json": b"second"})
    once = cosign(draft, people[2])
    writer = published.writer()
    with pytest.raises(VerificationError) as caught:
        writer.accept_targets("targets", once)
    assert caught.value.reason == "THRESHOLD"
    twice = cosign(once, people[0])
    with pytest.raises(FailedPreconditionError) as missing:
        writer.accept_targets("targets", twice)
    assert missing.value.reason == "TARGET_MISSING"
    writer.stage("trust.json", b"second")
    writer.accept_targets("targets", twice)
    published.publish(writer)
    assert published.load().target("trust.json") == b"second"


def test_signing_twice_with_one_key_is_one_signature(published: PublishedRepository) -> None:
    draft = published.writer().draft_targets("targets", {})
    again = cosign(cosign(draft, key(202)), key(202))
    assert len(json.loads(again)["signatures"]) == 1


def test_a_root_without_the_old_keys_is_not_accepted(published: PublishedRepository) -> None:
    holders = {**published.holders(TOP_LEVEL), "root": role_keys(key(301))}
    for signers in ([key(301)], published.keys["root"]):
        with pytest.raises(VerificationError) as caught:
            published.writer().write_root(holders, signers=signers)
        assert caught.value.reason == "THRESHOLD"


def test_a_draft_of_a_version_that_passed_is_not_accepted(
    published: PublishedRepository,
) -> None:
    writer = published.writer()
    draft = cosign(writer.draft_targets("crl", {}), published.keys["crl"][0])
    root = writer.draft_root(published.holders(TOP_LEVEL))
    signed_root = cosign(root, published.keys["root"][0])
    writer.accept_targets("crl", draft)
    writer.accept_root(signed_root)
    with pytest.raises(FailedPreconditionError) as caught:
        writer.accept_targets("crl", draft)
    assert caught.value.reason == "VERSION"
    with pytest.raises(FailedPreconditionError) as caught:
        writer.accept_root(signed_root)
    assert caught.value.reason == "VERSION"


def test_a_role_whose_key_was_replaced_must_be_signed_anew(
    published: PublishedRepository,
) -> None:
    published.keys["targets"] = [key(301)]
    writer = published.writer()
    writer.write_root(published.holders(TOP_LEVEL), signers=published.keys["root"])
    with pytest.raises(VerificationError) as caught:
        published.publish(writer)
    assert caught.value.reason == "THRESHOLD"


def test_a_delegated_key_is_replaced_by_the_trust_role(published: PublishedRepository) -> None:
    published.keys["status"] = [key(301)]
    writer = published.writer()
    writer.write_targets(
        "targets", {}, signers=published.keys["targets"], delegations=published.holders(DELEGATED)
    )
    writer.write_targets("status", {}, signers=[key(301)])
    published.publish(writer)
    assert published.load().versions["status"] == 2


def test_an_expired_state_is_not_published() -> None:
    published = PublishedRepository(lifetimes={"crl": timedelta(hours=1)})
    published.clock.advance(hours=1)
    with pytest.raises(VerificationError) as caught:
        published.publish(published.writer())
    assert caught.value.reason == "CRL_EXPIRED"


def test_roles_are_written_in_the_order_of_trust(published: PublishedRepository) -> None:
    nothing: dict[str, bytes] = {}
    empty = RepositoryWriter(read=nothing.get, clock=published.clock)
    with pytest.raises(FailedPreconditionError) as caught:
        empty.publish(snapshot=[], timestamp=[])
    assert caught.value.reason == "ROLE_ORDER"
    with pytest.raises(FailedPreconditionError):
        empty.write_targets("targets", {}, signers=[], delegations=published.holders(DELEGATED))
    empty.write_root(published.holders(TOP_LEVEL), signers=published.keys["root"])
    with pytest.raises(FailedPreconditionError):
        empty.write_targets("status", {}, signers=published.keys["status"])


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("status", "trust.json"),
        ("targets", "status/a.jwt"),
        ("crl", "status/a.jwt"),
        ("crl", "../a"),
    ],
)
def test_a_role_does_not_draft_names_of_another(
    published: PublishedRepository, role: str, name: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_targets(role, {name: b""})
    assert caught.value.reason == "TARGET_NAME"


def test_a_target_beyond_its_bound_is_not_drafted(published: PublishedRepository) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_targets("status", {"status/a.jwt": bytes((1 << 20) + 1)})
    assert caught.value.reason == "TOO_LARGE"


def test_a_key_serves_one_role(published: PublishedRepository) -> None:
    shared = {**published.holders(TOP_LEVEL), "timestamp": role_keys(*published.keys["status"])}
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_root(shared)
    assert caught.value.reason == "KEY_PURPOSE"
    delegations = {**published.holders(DELEGATED), "crl": role_keys(*published.keys["targets"])}
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_targets("targets", {}, delegations=delegations)
    assert caught.value.reason == "KEY_PURPOSE"


def test_all_roles_and_no_others_need_keys(published: PublishedRepository) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_root(published.holders(["root", "targets"]))
    assert caught.value.reason == "ROLES"
    with pytest.raises(InvalidArgumentError) as caught:
        published.writer().draft_targets("targets", {}, delegations=published.holders(["crl"]))
    assert caught.value.reason == "ROLES"


@pytest.mark.parametrize("threshold", [0, -1, 3])
def test_a_threshold_that_no_one_or_everyone_meets_is_refused(threshold: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        role_keys(key(1), key(2), threshold=threshold)
    assert caught.value.reason == "THRESHOLD"


def test_a_key_listed_twice_is_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        RoleKeys(keys=(key(1).public_key, key(1).public_key), threshold=1)


def test_a_repository_with_a_hole_is_not_written_on(published: PublishedRepository) -> None:
    for path in ("metadata/1.snapshot.json", "metadata/1.crl.json"):
        data = published.files.pop(path)
        with pytest.raises(MalformedError) as caught:
            published.writer()
        assert caught.value.reason == "PACK_TRUNCATED"
        published.files[path] = data


def test_keys_come_from_no_uri() -> None:
    with pytest.raises(ConfigurationError):
        TufSigner.from_priv_key_uri("file:key", tuf_key(key(1).public_key))


def test_a_signature_is_der_and_verifies_as_tuf_has_it() -> None:
    signer = TufSigner(key(1))
    signature = signer.sign(b"payload")
    assert signer.public_key.scheme == "ecdsa-sha2-nistp256"
    assert signature.signature.startswith("30")
    signer.public_key.verify_signature(signature, b"payload")
