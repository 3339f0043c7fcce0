"""Data keys, sealed values and blind indexes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import SeededEntropy
from support.small_region import person
from yinxin_proto.error import IntegrityError, KeyStoreError
from yinxin_proto.number import IdentifierType, SubjectNumber
from yinxin_trust.cipher import AES_256
from yinxin_trust.vault import DataKey, Vault


def vault(*, kek: dict[int, bytes] | None = None, index: dict[int, bytes] | None = None) -> Vault:
    return Vault(
        key_encryption_keys=kek or {1: bytes(32)},
        index_keys=index or {1: bytes([1]) * 32},
        entropy=SeededEntropy("vault"),
    )


KEY = DataKey(AES_256, bytes(range(32)), SeededEntropy("key"))


@given(plaintext=st.binary(max_size=500), row=st.binary(max_size=50))
def test_what_was_sealed_opens_in_its_row(plaintext: bytes, row: bytes) -> None:
    assert KEY.open(KEY.seal(plaintext, row=row), row=row) == plaintext


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert KEY.seal(b"text", row=b"row") != KEY.seal(b"text", row=b"row")


@given(bit=st.integers(0, 8 * (12 + 4 + 16) - 1))
def test_one_flipped_bit_never_opens(bit: int) -> None:
    sealed = bytearray(KEY.seal(b"text", row=b"row"))
    sealed[bit // 8] ^= 1 << (bit % 8)

    with pytest.raises(IntegrityError) as caught:
        KEY.open(bytes(sealed), row=b"row")
    assert caught.value.reason == "SEAL_BROKEN"


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(7), bytes(12), bytes(27)])
def test_what_is_too_short_never_opens(sealed: bytes) -> None:
    with pytest.raises(IntegrityError):
        KEY.open(sealed, row=b"row")


def test_a_value_does_not_open_in_another_row() -> None:
    with pytest.raises(IntegrityError):
        KEY.open(KEY.seal(b"text", row=b"row 1"), row=b"row 2")


def test_a_value_does_not_open_under_another_subjects_key() -> None:
    store = vault()
    (mine, *_), (other, *_) = store.new_key(), store.new_key()

    with pytest.raises(IntegrityError):
        other.open(mine.seal(b"text", row=b"row"), row=b"row")


def test_a_wrapped_key_opens_what_the_key_sealed() -> None:
    store = vault()
    key, wrapped, _ = store.new_key()

    opened = store.open_key(wrapped, kek_version=1)

    assert len(wrapped) == 40
    assert opened.open(key.seal(b"text", row=b"row"), row=b"row") == b"text"


@pytest.mark.parametrize("spoil", [lambda w: w[:-1], lambda w: w[:16], lambda w: bytes(40)])
def test_an_altered_wrapped_key_does_not_open(spoil: object) -> None:
    store = vault()
    _, wrapped, _ = store.new_key()
    assert callable(spoil)

    with pytest.raises(IntegrityError):
        store.open_key(spoil(wrapped), kek_version=1)


def test_another_region_does_not_open_a_wrapped_key() -> None:
    _, wrapped, _ = vault().new_key()

    with pytest.raises(IntegrityError):
        vault(kek={1: bytes([9]) * 32}).open_key(wrapped, kek_version=1)


def test_the_newest_key_encryption_key_wraps_and_older_ones_still_open() -> None:
    _, old, _ = vault(kek={1: bytes(32)}).new_key()
    rotated = vault(kek={1: bytes(32), 2: bytes([2]) * 32})
    _, new, _ = rotated.new_key()

    assert rotated.kek_version == 2
    rotated.open_key(old, kek_version=1)
    rotated.open_key(new, kek_version=2)
    with pytest.raises(IntegrityError):
        rotated.open_key(new, kek_version=1)


def test_a_missing_key_encryption_key_is_named() -> None:
    _, wrapped, _ = vault().new_key()

    with pytest.raises(KeyStoreError) as caught:
        vault().open_key(wrapped, kek_version=7)
    assert caught.value.reason == "KEK_MISSING"


@pytest.mark.parametrize(("kek", "index"), [({}, {1: bytes(32)}), ({1: bytes(32)}, {})])
def test_a_vault_without_keys_is_refused(kek: dict[int, bytes], index: dict[int, bytes]) -> None:
    with pytest.raises(KeyStoreError):
        Vault(key_encryption_keys=kek, index_keys=index, entropy=SeededEntropy())


def test_a_number_has_one_index_and_different_numbers_different_ones() -> None:
    store = vault()

    assert store.subject_index(person(1)) == store.subject_index(person(1))
    assert store.subject_index(person(1)) != store.subject_index(person(2))


def test_the_same_digits_of_another_kind_have_another_index() -> None:
    value = person(1).reveal()
    other = SubjectNumber(type=IdentifierType.OTHER_LEGAL, value=value)
    store = vault()

    assert store.subject_index(person(1)).value != store.subject_index(other).value


def test_an_index_depends_on_its_key_and_says_which() -> None:
    old = vault(index={1: bytes([1]) * 32}).subject_index(person(1))
    rotated = vault(index={1: bytes([1]) * 32, 2: bytes([2]) * 32}).subject_index(person(1))

    assert (old.key_version, rotated.key_version) == (1, 2)
    assert old.value != rotated.value


def test_an_index_does_not_contain_the_number() -> None:
    index = vault().subject_index(person(1))

    assert person(1).reveal() not in repr(index)
    assert len(index.value) == 32


def test_licence_numbers_are_indexed_by_type_and_issuer() -> None:
    store = vault()
    indexes = {
        store.licence_number_index(type_code, issuer, number).value
        for type_code in ("T1", "T2")
        for issuer in ("A", "B")
        for number in ("1", "2")
    }

    assert len(indexes) == 8
    assert store.subject_index(person(1)).value not in indexes


def test_the_parts_of_a_licence_number_cannot_be_shifted() -> None:
    store = vault()

    assert store.licence_number_index("T", "A1", "2") != store.licence_number_index("T", "A", "12")


def test_derived_keys_differ_by_label_and_from_every_index() -> None:
    store = vault()

    assert len({*store.derive("a"), *store.derive("b"), store.subject_index(person(1)).value}) == 3


def test_a_data_key_does_not_show_itself() -> None:
    assert repr(KEY) == "DataKey(…)"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
