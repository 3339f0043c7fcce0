from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keyfile import KeyDirectory
from yinxin_ca.keystore import KeyInfo, KeyRef, Purpose
from yinxin_ca.masterkey import MASTER_FILE, MasterKey
from yinxin_ca.software import Material
from yinxin_proto.error import InvalidArgumentError, KeyStoreError

REF = KeyRef("350399", Purpose.KEK)
PASSPHRASE = "an invented passphrase"

owners = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}", fullmatch=True)
refs = st.builds(KeyRef, owners, st.sampled_from(Purpose), st.integers(1, 999_999))
in_place = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@cache
def _master() -> MasterKey:
    entropy = SeededEntropy(1)
    return MasterKey(store_id=entropy.token(16), key=entropy.token(32))


def _shelf(directory: Path) -> KeyDirectory:
    return KeyDirectory(directory=directory, master=_master(), entropy=SeededEntropy(2))


def _material(ref: KeyRef, content: bytes) -> Material:
    return Material(KeyInfo(ref, "secret", FixedClock().now(), None), content)


@given(refs)
def test_a_key_name_reads_back(ref: KeyRef) -> None:
    assert KeyRef.parse(str(ref)) == ref


@given(st.text(max_size=80))
def test_any_text_is_a_key_name_or_a_typed_error(text: str) -> None:
    try:
        assert str(KeyRef.parse(text)) == text
    except InvalidArgumentError:
        return


@in_place
@given(refs, st.binary(max_size=4096))
def test_what_is_put_is_what_is_got(tmp_path: Path, ref: KeyRef, content: bytes) -> None:
    shelf = _shelf(tmp_path)
    shelf.put(_material(ref, content))
    assert _shelf(tmp_path).get(ref) == _material(ref, content)
    shelf.remove(ref)


@in_place
@given(st.data())
def test_a_key_file_with_one_bit_flipped_never_opens(tmp_path: Path, data: st.DataObject) -> None:
    shelf = _shelf(tmp_path)
    path = tmp_path / f"{REF}.key"
    if not path.exists():
        shelf.put(_material(REF, bytes(32)))
        (tmp_path / "whole").write_bytes(path.read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    with pytest.raises(KeyStoreError):
        shelf.get(REF)


@in_place
@given(st.binary(max_size=300))
def test_any_bytes_as_a_key_file_are_a_typed_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{REF}.key").write_bytes(content)
    with pytest.raises(KeyStoreError):
        _shelf(tmp_path).get(REF)


@in_place
@given(st.binary(max_size=300))
def test_any_bytes_as_a_master_file_are_a_typed_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MASTER_FILE).write_bytes(content)
    with pytest.raises(KeyStoreError):
        MasterKey.open(tmp_path, passphrase=PASSPHRASE)
