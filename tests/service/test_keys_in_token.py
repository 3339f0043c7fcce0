"""A region whose licence and CA keys are in a token: founded, served, restarted, robbed of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from support.keystores import open_token
from support.served_region import CONTEXT, ServedRegion, call, issue_request, run
from support.softhsm import SoftToken, new_token
from yinxin import Client, IssuedLicence, Verifier
from yinxin_ca.keystore import Purpose
from yinxin_proto.error import UnavailableError
from yinxin_trust.keysettings import KeysTable, Pkcs11Table

PURPOSES = (
    Purpose.LICENCE,
    Purpose.LICENCE_CA,
    Purpose.STATUS,
    Purpose.STATUS_CA,
    Purpose.TLS_CA,
    Purpose.TUF_STATUS,
    Purpose.LOG,
    Purpose.KEK,
)


@dataclass(frozen=True)
class RegionInToken:
    served: ServedRegion
    token: SoftToken
    pin_file: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RegionInToken:
    """A region of ES256 with most of its keys in SoftHSM."""
    root, token = tmp_path_factory.mktemp("token"), new_token()
    pin_file = root / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(token.pin + "\n")
    table = Pkcs11Table(
        purposes=PURPOSES,
        module=str(token.module),
        token=token.label,
        pin_file=str(pin_file),
    )
    return RegionInToken(
        ServedRegion.found(root, workers=1, keys=KeysTable(pkcs11=table)), token, pin_file
    )


def test_the_keys_named_are_in_the_token_and_the_rest_in_files(made: RegionInToken) -> None:
    in_token = {info.ref.purpose for info in open_token(made.token).list()}
    assert in_token == set(PURPOSES)
    in_files = {path.name.split(".")[1] for path in (made.served.directory / "keys").glob("*.key")}
    assert in_files >= {"tls-server", "index-hmac", "tuf-snapshot", "tuf-timestamp", "tuf-crl"}
    assert in_files.isdisjoint(PURPOSES)


def test_licences_issued_with_keys_in_a_token_verify_across_its_absence_and_a_restart(
    made: RegionInToken, tmp_path: Path
) -> None:
    with made.served.serve() as server, made.served.client(server.address) as client:
        issued = [issue(client, "before")]
        made.token.take_away()
        try:
            with pytest.raises(UnavailableError) as caught:
                issue(client, "meanwhile")
            assert caught.value.reason == "TOKEN_GONE"
        finally:
            made.token.put_back()
        issued.append(issue(client, "back"))
    with made.served.serve() as server, made.served.client(server.address) as client:
        issued.append(issue(client, "restarted"))
        for licence in issued:
            client.verify(licence, context=CONTEXT).require_passed()
    pack = tmp_path / "pack"
    done = call("pack", "export", str(made.served.directory), str(pack))
    assert done.returncode == 0, done.stderr
    verifier = Verifier.open(pack, pin=made.served.credentials / "root.json")
    for licence in issued:
        verifier.verify(licence).require_passed()


def issue(client: Client, number: str) -> IssuedLicence:
    return client.issue(issue_request(number), context=CONTEXT)


def test_a_wrong_pin_at_start_is_said_to_a_person_and_tried_once(made: RegionInToken) -> None:
    made.pin_file.write_text("0000-invented\n")
    try:
        done = run("serve", str(made.served.directory), "--listen", "127.0.0.1:0")
        chinese = call("doctor", str(made.served.directory), YINXIN_LANG="zh")
    finally:
        made.pin_file.write_text(made.token.pin + "\n")
    assert done.returncode == 77
    assert "PIN_WRONG" in done.stderr
    assert "not asked again" in " ".join(done.stderr.split())
    assert "0000-invented" not in done.stderr + done.stdout
    assert chinese.returncode == 77
    assert "令牌拒绝了 PIN" in chinese.stderr


def test_a_pin_that_others_can_read_is_refused(made: RegionInToken) -> None:
    made.pin_file.chmod(0o644)
    try:
        done = call("doctor", str(made.served.directory))
    finally:
        made.pin_file.chmod(0o600)
    assert "SECRET_FILE_OPEN" in done.stderr


def test_doctor_says_which_store_holds_what(made: RegionInToken) -> None:
    done = call("doctor", str(made.served.directory))
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "pkcs11 answers and holds" in said
    assert "file answers and holds" in said


def test_a_token_that_is_out_is_said_at_the_start(made: RegionInToken) -> None:
    made.token.take_away()
    try:
        done = run("serve", str(made.served.directory), "--listen", "127.0.0.1:0")
    finally:
        made.token.put_back()
    assert done.returncode == 69
    assert "TOKEN_UNKNOWN" in done.stderr


def test_a_founding_that_fails_leaves_no_keys_in_the_token(
    made: RegionInToken, tmp_path: Path
) -> None:
    token = new_token()
    pin_file = tmp_path / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(token.pin)
    keys = tmp_path / "keys.toml"
    keys.write_text(
        f'[keys.pkcs11]\npurposes = ["tls-ca", "licence-ca"]\nmodule = "{token.module}"\n'
        f'token = "{token.label}"\npin_file = "pin"\n'
    )
    founding = (
        *("region", "init", str(tmp_path / "region"), "--code", "350300"),
        *("--domain", "putian.example", "--name", "莆田市（示例）", "--keys", str(keys)),
    )
    # The licence CA is of SM2, which this token cannot hold; the TLS CA could.
    done = call(*founding, "--suite", "SM2")
    assert done.returncode != 0
    assert "SUITE_NOT_IN_STORE" in done.stderr
    assert not (tmp_path / "region").exists()
    assert open_token(token).list() == ()
    done = call(*founding, "--suite", "ES256")
    assert done.returncode == 0, done.stderr
    assert len(open_token(token).list()) == 2


def test_without_its_pin_file_a_region_does_not_open(made: RegionInToken) -> None:
    aside = made.pin_file.with_name("aside")
    made.pin_file.rename(aside)
    try:
        done = call("doctor", str(made.served.directory))
    finally:
        aside.rename(made.pin_file)
    assert "SECRET_FILE" in done.stderr
