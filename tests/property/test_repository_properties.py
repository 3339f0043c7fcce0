"""The trust repository: no changed byte changes what is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from support.json_mutation import VALUES, places, put
from support.trust_repository import PublishedRepository
from yinxin_proto.error import MalformedError, YinxinError
from yinxin_proto.repository import RepositoryView
from yinxin_proto.repository_metadata import ROLES, parse, role_of

PUBLISHED = PublishedRepository()
BELIEVED = PUBLISHED.load()
PARSERS: dict[str, Callable[[bytes], object]] = {
    **{role: partial(parse, role, Targets) for role in ROLES},
    "root": partial(parse, "root", Root),
    "timestamp": partial(parse, "timestamp", Timestamp),
    "snapshot": partial(parse, "snapshot", Snapshot),
}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_changes_nothing_that_is_believed(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(PUBLISHED.files)))
    raw = bytearray(PUBLISHED.files[path])
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << (bit % 8)
    files = {**PUBLISHED.files, path: bytes(raw)}
    try:
        view = RepositoryView.load(PUBLISHED.pinned, files.get, PUBLISHED.clock.now())
        targets = {name: view.target(name) for name in view.paths()}
    except YinxinError:
        return
    # A few bits are not under a signature: the case of a hexadecimal digit.
    assert view.roles == BELIEVED.roles
    assert targets == {name: BELIEVED.target(name) for name in BELIEVED.paths()}
    assert path in {"metadata/timestamp.json", "metadata/1.root.json"}


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_value_in_any_place_raises_only_the_typed_error(data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(ROLES))
    document = json.loads(PUBLISHED.files[PUBLISHED.path(role)])
    place = data.draw(st.sampled_from(places(document)))
    put(document, place, data.draw(VALUES))
    try:
        PARSERS[role](json.dumps(document).encode())
    except MalformedError:
        return


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_typed_error(data: bytes) -> None:
    for role in ROLES:
        try:
            PARSERS[role](data)
        except MalformedError:
            continue
        raise AssertionError("random bytes were metadata")


@given(st.text(max_size=40))
def test_a_target_name_that_is_accepted_stays_in_its_folder(name: str) -> None:
    try:
        role = role_of(name)
    except MalformedError:
        return
    assert name == name.strip()
    assert ".." not in name.split("/")
    assert name.count("/") == (0 if role == "targets" else 1)
    assert role == "targets" or name.startswith(f"{role}/")
