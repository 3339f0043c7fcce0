"""Verifying offline, from a pack and a pinned root."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from support.fake_region import FakeRegion
from support.region_builder import TYPE, RegionBuilder
from yinxin import (
    OFFLINE,
    ONLINE,
    ConfigurationError,
    Indication,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    Pinning,
    VerificationError,
    Verifier,
)


@pytest.fixture
def builder(region: FakeRegion) -> RegionBuilder:
    return region.builder


def write_pack(builder: RegionBuilder, folder: Path) -> Path:
    for name, data in builder.pack().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def test_a_pack_is_opened_once_and_judges_many(builder: RegionBuilder, tmp_path: Path) -> None:
    good, suspended = builder.issue(), builder.issue()
    expired = builder.issue(
        request=replace(
            builder.request(), valid_from=date(2000, 1, 1), valid_until=date(2001, 1, 1)
        )
    )
    builder.values[suspended.status_index] = 2
    verifier = Verifier.open(write_pack(builder, tmp_path), clock=builder.clock)

    found = verifier.verify_many(
        [*map(builder.file, (good, suspended, expired)), good.sd_jwt, b"rubbish"]
    )

    assert [report.reason for report in found][:4] == [None, "SUSPENDED", "EXPIRED", "NO_RECEIPT"]
    assert found[0].indication is Indication.TOTAL_PASSED
    assert found[3].indication is Indication.INDETERMINATE
    assert found[4].indication is Indication.TOTAL_FAILED
    assert verifier.verify(builder.file(good), policy=ONLINE).policy == "ONLINE"


def test_a_moment_can_be_asked_about(builder: RegionBuilder, tmp_path: Path) -> None:
    licence = builder.file(
        builder.issue(
            request=replace(
                builder.request(), valid_from=date(2000, 1, 1), valid_until=date(2001, 1, 1)
            )
        )
    )
    verifier = Verifier.open(write_pack(builder, tmp_path), clock=builder.clock)
    now = builder.clock.now()

    assert verifier.verify(licence, now).reason == "EXPIRED"
    with pytest.raises(InvalidArgumentError):
        verifier.verify(licence, now + timedelta(days=1))
    with pytest.raises(InvalidArgumentError):
        verifier.verify(licence, now.replace(tzinfo=None))


def test_the_parallel_root_is_pinned_beside_the_repositorys(
    builder: RegionBuilder, tmp_path: Path
) -> None:
    pack = write_pack(builder, tmp_path / "pack")
    issued = builder.issue()
    first = Verifier.open(pack, clock=builder.clock)
    root = first.parallel_root
    assert root == builder.hierarchy.parallel.certificate
    assert root is not None
    (tmp_path / "pq-root.cer").write_bytes(root)
    cosigner, builder.cosigner = builder.cosigner, None
    bare = builder.file(issued)
    builder.cosigner = cosigner
    assert first.verify(bare).reason != "LOG_KEY_BROKEN"
    for pinned in (root, tmp_path / "pq-root.cer"):
        verifier = Verifier.open(pack, pq_root=pinned, clock=builder.clock)
        assert verifier.verify(bare).reason == "LOG_KEY_BROKEN"
    with pytest.raises(MalformedError):
        Verifier.open(pack, pq_root=b"no certificate", clock=builder.clock)
    with pytest.raises(ConfigurationError):
        Verifier.open(pack, pq_root=tmp_path / "nowhere", clock=builder.clock)


def test_a_root_is_pinned_by_bytes_or_by_file(builder: RegionBuilder, tmp_path: Path) -> None:
    builder.issue()
    repository = builder.repository()
    for name, data in builder.pack(repository=repository).items():
        file = tmp_path / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    root = tmp_path / "root.json"
    root.write_bytes(repository.pinned)

    by_bytes = Verifier.open(tmp_path / "pack", pin=repository.pinned, clock=builder.clock)
    by_file = Verifier.open(tmp_path / "pack", pin=root, clock=builder.clock)

    assert by_bytes.pinning is by_file.pinning is Pinning.GIVEN
    assert by_bytes.root_fingerprint == by_file.root_fingerprint
    with pytest.raises(ConfigurationError):
        Verifier.open(tmp_path / "pack", pin=tmp_path / "nothing", clock=builder.clock)


def test_a_verifier_with_a_memory_notices_another_root(
    builder: RegionBuilder, tmp_path: Path
) -> None:
    builder.issue()
    state = tmp_path / "state" / "home.json"
    pack = write_pack(builder, tmp_path / "one")

    assert Verifier.open(pack, state=state, clock=builder.clock).pinning is Pinning.FIRST_USE
    assert Verifier.open(pack, state=state, clock=builder.clock).pinning is Pinning.REMEMBERED

    root = pack / "metadata" / "1.root.json"
    root.write_bytes(root.read_bytes() + b"\n")
    with pytest.raises(VerificationError) as caught:
        Verifier.open(pack, state=state, clock=builder.clock)
    assert caught.value.reason == "PINNED_ROOT"


def test_a_pack_as_one_file_does_as_well(
    region: FakeRegion, builder: RegionBuilder, tmp_path: Path
) -> None:
    licence = builder.file(builder.issue())
    file = tmp_path / "pack.zip"
    file.write_bytes(region.pack_zip())

    report = Verifier.open(file, clock=builder.clock).verify(licence)

    assert report.indication is Indication.TOTAL_PASSED
    file.write_bytes(region.pack_zip()[:-100])
    with pytest.raises(MalformedError):
        Verifier.open(file, clock=builder.clock)
    with pytest.raises(NotFoundError):
        Verifier.open(tmp_path / "nothing", clock=builder.clock)


def test_a_pack_without_a_catalogue_names_no_fields(builder: RegionBuilder, tmp_path: Path) -> None:
    builder.issue()
    verifier = Verifier.open(write_pack(builder, tmp_path), clock=builder.clock)

    assert verifier.field_names(TYPE) == {}
    assert verifier.field_names("../../etc/passwd") == {}
    assert verifier.trust.home.domain == builder.domain


def test_a_report_says_under_which_policy_it_was_made(
    builder: RegionBuilder, tmp_path: Path
) -> None:
    licence = builder.file(builder.issue())
    verifier = Verifier.open(write_pack(builder, tmp_path), clock=builder.clock)
    own = replace(OFFLINE, name="HOUSING", max_status_age=timedelta(0))
    builder.clock.advance(minutes=1)

    report = verifier.verify(licence, policy=own)

    assert (report.policy, report.reason) == ("HOUSING", "STATUS_STALE")
