from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError
from yinxin_proto.leaf import LicenceLeaf, Opening, StatusChangeLeaf, evidence_hash
from yinxin_proto.strict import canonical_json

HASHES = st.binary(min_size=32, max_size=32)
CODES = st.from_regex(r"[A-Z][A-Z_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
NUMBERS = st.integers(0, (1 << 64) - 1)
SALTS = HASHES

OPENINGS = st.builds(
    Opening,
    approval=st.none() | HASHES,
    evidence=st.none() | HASHES,
    request=st.none() | HASHES,
    salt=SALTS,
)
LICENCES = st.builds(
    LicenceLeaf,
    issuer_jwt_hash=HASHES,
    key_spki_hash=HASHES,
    identifier=TEXTS,
    status_uri=TEXTS,
    status_idx=NUMBERS,
    approval_hash=st.none() | HASHES,
    evidence_hash=st.none() | HASHES,
    request_hash=st.none() | HASHES,
)
CHANGES = st.builds(
    StatusChangeLeaf,
    identifier=TEXTS,
    from_state=CODES,
    to_state=CODES,
    operation=CODES,
    reason_code=st.none() | CODES,
    effective_time=NUMBERS,
    operator_certificate_hash=st.none() | HASHES,
    approval_hash=st.none() | HASHES,
    prior_index=st.none() | NUMBERS,
)
LEAVES = LICENCES | CHANGES


@given(LEAVES, LEAVES, SALTS)
def test_different_leaves_have_different_entries(
    one: LicenceLeaf | StatusChangeLeaf, other: LicenceLeaf | StatusChangeLeaf, salt: bytes
) -> None:
    assert (one.entry(salt) == other.entry(salt)) == (one == other)


@given(LICENCES, SALTS, SALTS)
def test_every_salt_makes_another_entry(leaf: LicenceLeaf, one: bytes, other: bytes) -> None:
    assert (leaf.entry(one) == leaf.entry(other)) == (one == other)


@given(OPENINGS)
def test_an_opening_is_read_back_from_its_canonical_bytes(opening: Opening) -> None:
    data = opening.to_bytes()
    assert data == canonical_json(opening.to_json())
    assert Opening.parse(data) == opening


@given(OPENINGS, LICENCES)
def test_an_opening_recomputes_the_leaf_that_was_logged(
    opening: Opening, leaf: LicenceLeaf
) -> None:
    logged = dataclasses.replace(
        leaf,
        issuer_jwt_hash=bytes.fromhex(
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        ),
        approval_hash=opening.approval,
        evidence_hash=opening.evidence,
        request_hash=opening.request,
    )
    recomputed = opening.licence_entry(
        b"", leaf.key_spki_hash, leaf.identifier, leaf.status_uri, leaf.status_idx
    )
    assert recomputed == logged.entry(opening.salt)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_opening_or_malformed(data: bytes) -> None:
    try:
        opening = Opening.parse(data)
    except MalformedError:
        return
    assert opening.to_bytes() == data


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(OPENINGS, st.sampled_from(["approval", "kind", "salt", "v", "x"]), JSON_VALUES)
def test_any_member_is_accepted_or_malformed(opening: Opening, name: str, value: object) -> None:
    members = opening.to_json() | {name: value}
    try:
        read = Opening.from_json(members)
    except MalformedError:
        return
    assert read.to_json() == members


CHAINS = st.lists(st.binary(max_size=8), max_size=4)


@given(CHAINS, st.binary(max_size=8), CHAINS, st.binary(max_size=8))
def test_different_evidence_has_a_different_hash(
    one: list[bytes], snapshot: bytes, other: list[bytes], other_snapshot: bytes
) -> None:
    same = (one, snapshot) == (other, other_snapshot)
    assert (evidence_hash(one, snapshot) == evidence_hash(other, other_snapshot)) == same
