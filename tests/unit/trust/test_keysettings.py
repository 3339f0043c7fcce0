"""Which keys are where, as settings say; and what is refused before anything is opened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from yinxin_ca.keystore import Purpose
from yinxin_edge.config import load
from yinxin_proto.error import ConfigurationError
from yinxin_trust import keyring
from yinxin_trust.keysettings import OFFLINE, KeysTable, Pkcs11Table, RemoteTable, SdfTable
from yinxin_trust.settings import (
    HttpTable,
    RegionTable,
    Settings,
    load_keys,
    load_settings,
    write_settings,
)
from yinxin_trust.signerhouse import SignerTable

REGION = '[region]\ncode = "350300"\ndomain = "putian.example"\nname = "莆田市（示例）"\n'
TOKEN = Pkcs11Table(
    purposes=(Purpose.LICENCE, Purpose.LOG), module="/m.so", token="a token", pin_file="/pin"
)
MACHINE = SdfTable(
    purposes=(Purpose.STATUS,), library="/s.so", first_index=3, last_index=9, code_file="/code"
)
SIGNER = RemoteTable(
    purposes=(Purpose.LICENCE_CA,),
    address="10.0.0.7:9443",
    credentials="/folder",
    timeout=timedelta(milliseconds=1500),
)


def reasons(text: str) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(Settings, REGION + text)
    return {item.field: f"{item.reason}: {item.description}" for item in caught.value.violations}


def test_without_a_table_every_key_is_in_files() -> None:
    assert load(Settings, REGION).keys == KeysTable()


def test_what_is_written_at_the_founding_is_what_is_read(tmp_path: Path) -> None:
    settings = Settings(
        region=RegionTable(code="350300", domain="putian.example", name="莆田市"),
        keys=KeysTable(pkcs11=TOKEN, sdf=MACHINE, remote=SIGNER),
    )
    write_settings(tmp_path, settings)
    assert load_settings(tmp_path).keys == settings.keys


def test_no_text_of_a_founding_ends_its_line_or_means_something_else(tmp_path: Path) -> None:
    odd = 'a"b\\c\nkeys = 1\x7f\t末\x00'
    settings = Settings(
        region=RegionTable(code="350300", domain="putian.example", name=odd),
        keys=KeysTable(pkcs11=replace(TOKEN, pin_file=odd)),
    )
    write_settings(tmp_path, settings)
    assert load_settings(tmp_path) == settings


@pytest.mark.parametrize("length", [0, 170])
def test_a_public_address_leaves_room_for_every_name_below_it(length: int) -> None:
    with pytest.raises(ConfigurationError):
        HttpTable(public_url="http://pki.example/" + "a" * (151 + length))
    assert HttpTable(public_url="http://pki.example/" + "a" * 100).crl_shards == 1


@pytest.mark.parametrize("domain", ["a\nb", "", "Signer Example"])
def test_a_signer_has_a_domain_that_certificates_can_name(domain: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SignerTable(domain=domain)
    assert refused.value.reason == "DOMAIN"


def test_files_named_beside_a_founding_s_keys_are_found_from_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(
        '[keys.pkcs11]\npurposes = ["licence"]\nmodule = "/m.so"\ntoken = "t"\npin_file = "pin"\n'
    )
    keys = load_keys(file)
    assert keys.pkcs11.pin_file == str(tmp_path / "pin")
    assert keys.sdf == SdfTable()


def test_an_unknown_setting_is_refused_with_the_nearest_one() -> None:
    found = reasons('[keys.pkcs11]\npurposes = ["licence"]\nmodul = "/m.so"\n')
    assert "did you mean module?" in found["keys.pkcs11.modul"]


def test_an_unknown_purpose_is_refused_with_those_there_are() -> None:
    found = reasons('[keys.pkcs11]\npurposes = ["license"]\n')
    assert "licence" in found["keys.pkcs11.purposes[0]"]


def test_everything_that_is_missing_is_said_at_once() -> None:
    found = reasons('[keys.pkcs11]\npurposes = ["licence"]\n')
    assert set(found) == {"keys.pkcs11.module", "keys.pkcs11.token", "keys.pkcs11.pin_file"}


def test_a_store_that_is_described_for_nothing_is_refused() -> None:
    assert set(reasons('[keys.pkcs11]\nmodule = "/m.so"\n')) == {"keys.pkcs11.purposes"}


@pytest.mark.parametrize("purpose", ["root", "pq-root", "tuf-root", "tuf-targets", "officers"])
def test_offline_keys_are_not_put_where_the_service_runs(purpose: str) -> None:
    found = reasons(
        f'[keys.pkcs11]\npurposes = ["{purpose}"]\nmodule = "m"\ntoken = "t"\npin_file = "p"\n'
    )
    assert "offline" in found["keys.pkcs11.purposes"]


@pytest.mark.parametrize(
    ("table", "purpose"),
    [
        ("pkcs11", "tls-server"),
        ("sdf", "tls-server"),
        ("sdf", "kek"),
        ("remote", "log"),
        ("remote", "tls-client"),
        ("pkcs11", "seal-encryption"),
        ("sdf", "integrity"),
    ],
)
def test_what_a_kind_of_store_cannot_hold_is_refused(table: str, purpose: str) -> None:
    found = reasons(f'[keys.{table}]\npurposes = ["{purpose}"]\n')
    assert found[f"keys.{table}.purposes"].startswith("PURPOSE: ")


def test_a_purpose_is_in_one_store() -> None:
    found = reasons(
        '[keys.pkcs11]\npurposes = ["licence"]\nmodule = "m"\ntoken = "t"\npin_file = "p"\n'
        '[keys.remote]\npurposes = ["licence"]\naddress = "a:1"\ncredentials = "c"\n'
    )
    assert "licence" in found["keys"]


@pytest.mark.parametrize("bounds", ["first_index = 0\nlast_index = 4", "first_index = 5"])
def test_the_machine_s_indexes_are_a_range(bounds: str) -> None:
    found = reasons(
        f'[keys.sdf]\npurposes = ["licence"]\nlibrary = "s"\ncode_file = "c"\n{bounds}\n'
    )
    assert found["keys.sdf"].startswith("SDF_INDEXES")


def test_every_key_that_a_founding_puts_offline_is_refused_a_device() -> None:
    assert frozenset(keyring.OFFLINE) <= OFFLINE
