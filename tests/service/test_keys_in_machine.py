"""An SM2 region whose licence and CA keys are in a cryptographic machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from support.sdf_machine import Machine, new_machine
from support.served_region import CONTEXT, ServedRegion, call, issue_request
from yinxin_ca.keystore import Purpose
from yinxin_proto.error import UnavailableError, WrongPassphraseError
from yinxin_proto.suite import SM2
from yinxin_trust.keysettings import KeysTable, SdfTable

PURPOSES = (Purpose.LICENCE, Purpose.LICENCE_CA, Purpose.STATUS, Purpose.STATUS_CA)


@dataclass(frozen=True)
class RegionInMachine:
    served: ServedRegion
    machine: Machine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RegionInMachine:
    root = tmp_path_factory.mktemp("machine")
    machine = new_machine(root / "machine")
    code_file = root / "code"
    code_file.touch(mode=0o600)
    code_file.write_text(machine.code)
    table = SdfTable(
        purposes=PURPOSES,
        library=str(machine.library),
        first_index=1,
        last_index=6,
        code_file=str(code_file),
    )
    keys = KeysTable(sdf=table)
    return RegionInMachine(ServedRegion.found(root, workers=1, suite=SM2.name, keys=keys), machine)


def test_sm2_licences_are_signed_in_the_machine_and_verify(made: RegionInMachine) -> None:
    with made.served.serve() as server, made.served.client(server.address) as client:
        licence = client.issue(issue_request("in-machine"), context=CONTEXT)
        made.machine.set("gone")
        try:
            with pytest.raises(UnavailableError) as caught:
                client.issue(issue_request("meanwhile"), context=CONTEXT)
            assert caught.value.reason == "SDF_GONE"
        finally:
            made.machine.set("gone", to=False)
        again = client.issue(issue_request("again"), context=CONTEXT)
        for issued in (licence, again):
            client.verify(issued, context=CONTEXT).require_passed()


def test_doctor_says_what_the_machine_holds(made: RegionInMachine) -> None:
    done = call("doctor", str(made.served.directory))
    assert "sdf answers and holds 4 keys" in " ".join(done.stdout.split()), done.stderr


def test_a_machine_that_is_away_keeps_nobody_from_looking_at_the_rest(
    made: RegionInMachine,
) -> None:
    made.machine.set("gone")
    try:
        done = call("doctor", str(made.served.directory))
    finally:
        made.machine.set("gone", to=False)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "sdf does not answer or refuses: SDF_GONE" in said
    assert "file answers and holds" in said


def test_a_wrong_access_code_is_said_and_offered_once(made: RegionInMachine) -> None:
    code_file = Path(made.served.directory.parent) / "code"
    before = made.machine.wrong_codes
    code_file.write_text("wrong-invented")
    try:
        with (
            made.served.open() as region,
            pytest.raises(WrongPassphraseError, match="not tried again"),
        ):
            region.keyring.signer(Purpose.STATUS).sign(b"message")
    finally:
        code_file.write_text(made.machine.code)
    assert made.machine.wrong_codes == before + 1
