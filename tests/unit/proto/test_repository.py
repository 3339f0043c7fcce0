"""What the verified view believes, and every attack that it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from support.trust_repository import LISTS, TRUST, PublishedRepository, key, role_keys
from yinxin_proto.error import (
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    VerificationError,
    YinxinError,
)
from yinxin_proto.repository import MAX_ROTATIONS, ROLES, Expiry, RepositoryView, byte_limit
from yinxin_proto.repository_metadata import DELEGATED, MAX_TARGETS, TOP_LEVEL, role_of

LONG = dict.fromkeys(ROLES, timedelta(days=10_000))


@pytest.fixture
def published() -> PublishedRepository:
    return PublishedRepository()


def refused(
    load: Callable[[], object], reason: str, error: type[YinxinError] = VerificationError
) -> None:
    with pytest.raises(error) as caught:
        load()
    assert caught.value.reason == reason


# What is believed -------------------------------------------------------------


def test_a_fresh_repository_loads_and_gives_its_targets(published: PublishedRepository) -> None:
    view = published.load()
    assert view.target("trust.json") == TRUST
    assert {path: view.target(path) for path in view.paths("status")} == LISTS
    assert view.versions == dict.fromkeys(ROLES, 1)
    assert view.root == published.pinned
    assert view.expired == frozenset()


def test_every_file_of_a_state_is_listed_and_the_timestamp_last(
    published: PublishedRepository,
) -> None:
    files = published.load().files()
    assert set(files) == set(published.files)
    assert files[-1] == "metadata/timestamp.json"
    assert all(len(published.files[path]) <= byte_limit(path) for path in files)


def test_age_is_the_time_since_a_role_was_signed(published: PublishedRepository) -> None:
    published.clock.advance(hours=1)
    published.update("status", {"status/c3.jwt": b"c3"})
    published.clock.advance(hours=2)
    view = published.load()
    assert view.ages["status"] == timedelta(hours=2)
    assert view.ages["crl"] == timedelta(hours=3)
    assert view.roles["status"].version == 2


def test_a_name_that_no_role_vouches_for_is_not_found(published: PublishedRepository) -> None:
    view = published.load()
    refused(lambda: view.target("status/zz.jwt"), "TARGET", NotFoundError)
    refused(lambda: view.paths("snapshot"), "ROLE", NotFoundError)


def test_a_naive_moment_is_refused(published: PublishedRepository) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the fault under test
    refused(
        lambda: RepositoryView.load(published.pinned, published.files.get, naive),
        "NAIVE_TIME",
        InvalidArgumentError,
    )


# Rollback ---------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_version_below_one_seen_before_is_a_rollback(
    published: PublishedRepository, role: str
) -> None:
    refused(lambda: published.load(previous={role: 2}), "ROLLBACK")


@pytest.mark.parametrize("role", ["targets", *DELEGATED])
def test_an_old_version_in_a_fresh_state_is_a_rollback(
    published: PublishedRepository, role: str
) -> None:
    old = published.files[published.path(role)]
    published.update(role, {})
    seen = published.load().versions
    published.update(role, {})
    published.files[published.path(role)] = old
    published.refer("snapshot", role, old)
    published.files[published.path(role)] = old
    refused(lambda: published.load(previous=seen), "ROLLBACK")


def test_a_whole_old_state_is_a_rollback(published: PublishedRepository) -> None:
    old = dict(published.files)
    published.update("status", {})
    seen = published.load().versions
    refused(lambda: published.load(files=old, previous=seen), "ROLLBACK")


def test_the_state_last_seen_may_be_seen_again(published: PublishedRepository) -> None:
    seen = published.load().versions
    assert published.load(previous=seen).versions == seen


def test_a_withheld_new_root_is_a_rollback(published: PublishedRepository) -> None:
    published.rotate("root", key(301))
    seen = published.load().versions
    withheld = {path: data for path, data in published.files.items() if "2.root" not in path}
    refused(lambda: published.load(files=withheld, previous=seen), "ROLLBACK")


def test_versions_pushed_to_their_maximum_are_forgotten_once_the_key_is_replaced(
    published: PublishedRepository,
) -> None:
    seen = {**published.load().versions, "timestamp": 1 << 52, "snapshot": 1 << 52, "crl": 1 << 52}
    refused(lambda: published.load(previous=seen), "ROLLBACK")
    published.rotate("timestamp", key(301))
    assert published.load(previous=seen).versions["timestamp"] == 2
    seen = {**seen, "targets": 1 << 52}
    refused(lambda: published.load(previous=seen), "ROLLBACK")
    published.rotate("targets", key(302))
    assert published.load(previous=seen).versions["targets"] == 2


def test_a_key_that_joins_does_not_make_versions_forgotten(
    published: PublishedRepository,
) -> None:
    published.rotate("timestamp", *published.keys["timestamp"], key(301))
    refused(lambda: published.load(previous={"root": 1, "timestamp": 9}), "ROLLBACK")


def test_a_rotation_seen_before_does_not_make_versions_forgotten_again(
    published: PublishedRepository,
) -> None:
    published.rotate("timestamp", key(301))
    refused(lambda: published.load(previous={"root": 2, "timestamp": 9}), "ROLLBACK")


# Freeze -----------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_online_every_expired_role_is_refused(role: str) -> None:
    published = PublishedRepository(lifetimes={**LONG, role: timedelta(hours=1)})
    published.clock.advance(minutes=59, seconds=59)
    published.load()
    published.clock.advance(seconds=1)
    name = "TRUST" if role == "targets" else role.upper()
    refused(published.load, f"{name}_EXPIRED")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", *DELEGATED])
def test_in_a_pack_an_expired_online_role_is_an_age(role: str) -> None:
    published = PublishedRepository(lifetimes={**LONG, role: timedelta(hours=1)})
    published.clock.advance(days=40)
    view = published.load(mode=Expiry.PACK)
    assert view.expired == {role}
    assert view.ages[role] == timedelta(days=40)


@pytest.mark.parametrize(
    ("role", "reason"), [("root", "ROOT_EXPIRED"), ("targets", "TRUST_EXPIRED")]
)
def test_in_a_pack_root_and_trust_role_expire_for_good(role: str, reason: str) -> None:
    published = PublishedRepository(lifetimes={**LONG, role: timedelta(hours=1)})
    published.clock.advance(hours=1)
    refused(lambda: published.load(mode=Expiry.PACK), reason)


def test_an_expired_root_on_the_way_does_not_stop_the_walk() -> None:
    published = PublishedRepository(lifetimes={**LONG, "root": timedelta(hours=1)})
    published.clock.advance(hours=2)
    published.rotate("root", key(301))
    assert published.load().roles["root"].version == 2


# Thresholds -------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_metadata_signed_by_another_key_is_refused(
    published: PublishedRepository, role: str
) -> None:
    published.forge(role, lambda _: None, signers=[key(999)])
    if role == "root":
        published.pinned = published.files[published.path("root")]
    refused(published.load, "THRESHOLD")


def two_of_three() -> PublishedRepository:
    keys = {role: [key(201 + place)] for place, role in enumerate((*TOP_LEVEL, *DELEGATED))}
    keys["targets"] = [key(311), key(312), key(313)]
    return PublishedRepository(keys=keys, thresholds={"targets": 2})


def test_two_of_three_keys_suffice_and_one_does_not() -> None:
    published = two_of_three()
    published.forge("targets", lambda _: None, signers=[key(311), key(313)])
    published.load()
    published.forge("targets", lambda _: None, signers=[key(311)])
    refused(published.load, "THRESHOLD")


def test_one_key_under_two_identifiers_counts_once() -> None:
    published = two_of_three()
    single = Metadata.from_bytes(published.files[published.path("root")]).to_dict()["signed"]
    first = single["roles"]["targets"]["keyids"][0]
    alias = "ab" * 32
    root = json.loads(json.dumps(single))
    root["keys"][alias] = root["keys"][first]
    root["roles"]["targets"]["keyids"].append(alias)
    published.pinned = published.files["metadata/1.root.json"] = published.sign(
        root, lambda _: None, published.keys["root"]
    )
    published.load()
    data = published.sign(published.signed("targets"), lambda _: None, [key(311)])
    document = json.loads(data)
    document["signatures"].append({**document["signatures"][0], "keyid": alias})
    data = json.dumps(document).encode()
    published.files[published.path("targets")] = data
    published.refer("snapshot", "targets", data)
    refused(published.load, "THRESHOLD")


def test_one_identifier_signing_twice_is_refused() -> None:
    published = two_of_three()
    document = json.loads(published.sign(published.signed("targets"), lambda _: None, [key(311)]))
    document["signatures"] *= 2
    data = json.dumps(document).encode()
    published.files[published.path("targets")] = data
    published.refer("snapshot", "targets", data)
    refused(published.load, "TUF_METADATA", MalformedError)


def test_a_key_of_a_suite_without_name_here_does_not_count(
    published: PublishedRepository,
) -> None:
    stranger = CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    root: dict[str, Any] = published.signed("root")
    root["keys"][stranger.public_key.keyid] = stranger.public_key.to_dict()
    root["roles"]["timestamp"]["keyids"] = [stranger.public_key.keyid]
    published.pinned = published.files["metadata/1.root.json"] = published.sign(
        root, lambda _: None, published.keys["root"]
    )
    metadata: Metadata[Any] = Metadata.from_bytes(published.files["metadata/timestamp.json"])
    metadata.sign(stranger)
    published.files["metadata/timestamp.json"] = metadata.to_bytes()
    refused(published.load, "THRESHOLD")


# Root rotation ----------------------------------------------------------------


def next_root(published: PublishedRepository, version: int, secret: int) -> dict[str, Any]:
    """Return the signed part of a root that moves the root role to another key."""
    writer = published.writer()
    holders = {**published.holders(TOP_LEVEL), "root": role_keys(key(secret))}
    signed: dict[str, Any] = json.loads(writer.draft_root(holders))["signed"]
    signed["version"] = version
    return signed


def offer_root(published: PublishedRepository, place: int, version: int, *signers: int) -> None:
    published.files[f"metadata/{place}.root.json"] = published.sign(
        next_root(published, version, 301), lambda _: None, [key(secret) for secret in signers]
    )


OLD, NEW = 201, 301


def test_two_root_rotations_are_walked(published: PublishedRepository) -> None:
    published.rotate("root", key(301))
    published.rotate("root", key(302))
    view = published.load()
    assert view.versions["root"] == 3
    assert view.root == published.files["metadata/3.root.json"]
    assert "metadata/2.root.json" in view.files()


def test_a_root_signed_by_the_old_keys_alone_is_refused(published: PublishedRepository) -> None:
    offer_root(published, 2, 2, OLD)
    refused(published.load, "THRESHOLD")


def test_a_root_signed_by_the_new_keys_alone_is_refused(published: PublishedRepository) -> None:
    offer_root(published, 2, 2, NEW)
    refused(published.load, "THRESHOLD")


@pytest.mark.parametrize("version", [1, 3])
def test_a_root_of_another_version_than_its_place_is_refused(
    published: PublishedRepository, version: int
) -> None:
    offer_root(published, 2, version, OLD, NEW)
    refused(published.load, "ROOT_VERSION")


def test_a_root_beyond_a_gap_is_not_reached(published: PublishedRepository) -> None:
    offer_root(published, 3, 3, OLD, NEW)
    assert published.load().versions["root"] == 1


def test_more_rotations_than_the_bound_are_refused(published: PublishedRepository) -> None:
    writer = published.writer()
    for _ in range(MAX_ROTATIONS):
        writer.write_root(published.holders(TOP_LEVEL), signers=published.keys["root"])
    published.publish(writer)
    published.files.update(
        {f"metadata/{n + 1}.root.json": data for n, data in enumerate(writer.roots)}
    )
    assert published.load().versions["root"] == MAX_ROTATIONS + 1
    writer = published.writer()
    writer.write_root(published.holders(TOP_LEVEL), signers=published.keys["root"])
    published.publish(writer)
    refused(published.load, "ROOT_ROTATIONS", MalformedError)


def test_a_root_without_consistent_snapshots_is_refused(published: PublishedRepository) -> None:
    published.forge("root", lambda signed: signed.update(consistent_snapshot=False))
    published.pinned = published.files[published.path("root")]
    refused(published.load, "ROOT_LAYOUT", MalformedError)


# Mix and match ----------------------------------------------------------------


def test_a_snapshot_of_another_state_is_refused(published: PublishedRepository) -> None:
    old = published.files[published.path("snapshot")]
    published.update("status", {})
    published.files[published.path("snapshot")] = old
    refused(published.load, "MIX_AND_MATCH")


@pytest.mark.parametrize("role", ["targets", *DELEGATED])
def test_a_role_of_another_state_is_refused(published: PublishedRepository, role: str) -> None:
    old = published.files[published.path(role)]
    published.update(role, {})
    published.files[published.path(role)] = old
    refused(published.load, "MIX_AND_MATCH")


@pytest.mark.parametrize("role", ["snapshot", "targets", *DELEGATED])
def test_a_version_that_the_reference_does_not_state_is_refused(
    published: PublishedRepository, role: str
) -> None:
    path = published.path(role)
    published.forge(role, lambda signed: signed.update(version=7))
    data = published.files[path]
    referrer = "timestamp" if role == "snapshot" else "snapshot"
    published.refer(referrer, role, data, version=1)
    refused(published.load, "MIX_AND_MATCH")


@pytest.mark.parametrize("member", ["hashes", "length"])
def test_a_reference_without_hash_or_length_is_refused(
    published: PublishedRepository, member: str
) -> None:
    published.forge("timestamp", lambda signed: signed["meta"]["snapshot.json"].pop(member))
    refused(published.load, "META_HASH", MalformedError)


def test_a_snapshot_that_leaves_a_role_out_is_refused(published: PublishedRepository) -> None:
    published.forge("snapshot", lambda signed: signed["meta"].pop("crl.json"))
    refused(published.load, "SNAPSHOT_ROLES", MalformedError)


# Targets ----------------------------------------------------------------------


def stored(published: PublishedRepository, name: str) -> str:
    return next(path for path in published.files if path.endswith(name))


def test_an_altered_target_is_refused(published: PublishedRepository) -> None:
    published.files[stored(published, "a1.jwt")] = b"status list aX"
    refused(lambda: published.load().target("status/a1.jwt"), "HASH_MISMATCH")


def test_a_truncated_or_prolonged_target_is_refused(published: PublishedRepository) -> None:
    whole = published.files[stored(published, "a1.jwt")]
    for data in (whole[:-1], whole + b"\n", b""):
        published.files[stored(published, "a1.jwt")] = data
        refused(lambda: published.load().target("status/a1.jwt"), "HASH_MISMATCH")


@pytest.mark.parametrize("role", [role for role in ROLES if role != "root"])
def test_missing_metadata_is_a_truncated_pack(published: PublishedRepository, role: str) -> None:
    del published.files[published.path(role)]
    refused(published.load, "PACK_TRUNCATED", MalformedError)


def test_a_missing_target_is_a_truncated_pack(published: PublishedRepository) -> None:
    del published.files[stored(published, "trust.json")]
    view = published.load()
    refused(lambda: view.target("trust.json"), "PACK_TRUNCATED", MalformedError)


TARGET = {"length": 2, "hashes": {"sha256": "0" * 64}}


@pytest.mark.parametrize("role", DELEGATED)
def test_an_online_role_that_claims_the_trust_list_is_refused(
    published: PublishedRepository, role: str
) -> None:
    published.forge(role, lambda signed: signed["targets"].update({"trust.json": TARGET}))
    refused(published.load, "NOT_DELEGATED")


def test_an_online_role_that_claims_its_neighbours_target_is_refused(
    published: PublishedRepository,
) -> None:
    published.forge("status", lambda signed: signed["targets"].update({"crl/x.crl": TARGET}))
    refused(published.load, "NOT_DELEGATED")


@pytest.mark.parametrize(
    "name",
    [
        "status/deeper/a.jwt",
        "other/a.jwt",
        "status/",
        "/status/a",
        "status/../trust.json",
        "status/..",
        "status/.a",
        "status/a\n",
        "",
        "status/" + "a" * 201,
    ],
)
def test_names_outside_the_layout_are_refused(published: PublishedRepository, name: str) -> None:
    published.forge("status", lambda signed: signed["targets"].update({name: TARGET}))
    refused(published.load, "TARGET_NAME", MalformedError)
    refused(lambda: role_of(name), "TARGET_NAME", MalformedError)


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "0" * 63, "A" * 64, ""])
def test_a_digest_that_could_name_another_file_is_refused(
    published: PublishedRepository, digest: str
) -> None:
    published.forge(
        "status", lambda signed: signed["targets"]["status/a1.jwt"]["hashes"].update(sha256=digest)
    )
    refused(published.load, "META_HASH", MalformedError)


def test_a_delegated_role_may_not_delegate_further(published: PublishedRepository) -> None:
    published.forge("status", lambda signed: signed.update(delegations={"keys": {}, "roles": []}))
    refused(published.load, "NOT_DELEGATED")


@pytest.mark.parametrize(
    "change",
    [{"paths": ["*"]}, {"paths": ["status/*", "crl/*"]}, {"terminating": False}, {"name": "else"}],
)
def test_a_delegation_of_another_shape_is_refused(
    published: PublishedRepository, change: dict[str, Any]
) -> None:
    published.forge("targets", lambda signed: signed["delegations"]["roles"][0].update(change))
    refused(published.load, "DELEGATIONS", MalformedError)


def test_a_trust_role_without_delegations_is_refused(published: PublishedRepository) -> None:
    published.forge("targets", lambda signed: signed.pop("delegations"))
    refused(published.load, "DELEGATIONS", MalformedError)


# Bounds -----------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_huge_metadata_is_refused_before_it_is_parsed(
    published: PublishedRepository, role: str
) -> None:
    path = published.path(role)
    huge = published.files[path] + b" " * byte_limit(path)
    published.files[path] = huge
    if role == "root":
        published.pinned = huge
    elif role != "timestamp":
        referrer = "timestamp" if role == "snapshot" else "snapshot"
        published.refer(referrer, role, huge)
        published.files[path] = huge
    refused(published.load, "TOO_LARGE", MalformedError)


def test_deeply_nested_metadata_is_refused(published: PublishedRepository) -> None:
    published.files["metadata/timestamp.json"] = b'{"a":' * 500 + b"1" + b"}" * 500
    refused(published.load, "TOO_DEEP", MalformedError)


def test_too_many_targets_are_refused(published: PublishedRepository) -> None:
    many = {f"crl/{number}": TARGET for number in range(MAX_TARGETS + 1)}
    published.forge("crl", lambda signed: signed["targets"].update(many))
    refused(published.load, "TOO_LARGE", MalformedError)


def test_a_target_beyond_its_bound_is_refused(published: PublishedRepository) -> None:
    published.forge(
        "status", lambda signed: signed["targets"]["status/a1.jwt"].update(length=(1 << 20) + 1)
    )
    refused(published.load, "TOO_LARGE", MalformedError)


def test_bounds_are_stated_for_every_kind_of_file() -> None:
    assert byte_limit("metadata/12.root.json") == 64 << 10
    assert byte_limit("metadata/timestamp.json") == 1 << 20
    assert byte_limit("targets/aa.trust.json") == 8 << 20
    assert byte_limit("targets/status/aa.a1.jwt") == 1 << 20
    assert byte_limit("targets/else/aa.a1.jwt") == 0


@pytest.mark.parametrize("value", [None, "1", -1, 1 << 52, True])
def test_metadata_without_a_sound_time_of_issue_is_refused(
    published: PublishedRepository, value: object
) -> None:
    published.forge("timestamp", lambda signed: signed.update(yinxin_issued_at=value))
    refused(published.load, "ISSUED_AT", MalformedError)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"signed":{}}', b'{"signed":{"_type":"root"},"signatures":[]}']
)
def test_what_is_no_metadata_is_refused(published: PublishedRepository, data: bytes) -> None:
    with pytest.raises(MalformedError):
        RepositoryView.load(data, published.files.get, published.clock.now())


def test_metadata_of_another_type_is_refused(published: PublishedRepository) -> None:
    published.files["metadata/timestamp.json"] = published.files["metadata/1.snapshot.json"]
    refused(published.load, "TUF_METADATA", MalformedError)
