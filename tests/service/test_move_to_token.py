"""Keys that began in files move into a token by rotation; nothing is issued anew."""

from __future__ import annotations

from pathlib import Path

from support.keystores import open_token
from support.requests import AUTHORITY
from support.rotating_region import rotate, shorten_waits
from support.served_region import CONTEXT, ServedRegion, call, issue_request
from support.softhsm import new_token
from yinxin_ca.keystore import KeyRef, Purpose


def test_a_rotation_makes_the_next_version_in_the_token_and_the_old_one_stays(
    tmp_path: Path,
) -> None:
    served = ServedRegion.found(tmp_path, workers=1)
    shorten_waits(served)
    token = new_token()
    pin_file = tmp_path / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(token.pin)
    settings = served.directory / "region.toml"
    settings.write_text(
        settings.read_text(encoding="utf-8")
        + f'\n[keys.pkcs11]\npurposes = ["licence", "licence-ca"]\nmodule = "{token.module}"\n'
        f'token = "{token.label}"\npin_file = "{pin_file}"\n',
        encoding="utf-8",
    )
    with served.serve() as server, served.client(server.address) as client:
        before = client.issue(issue_request("before"), context=CONTEXT)
        rotate(served, Purpose.LICENCE_CA)
        rotate(served, Purpose.LICENCE, AUTHORITY)
        after = client.issue(issue_request("after"), context=CONTEXT)
        for licence in (before, after):
            client.verify(licence, context=CONTEXT).require_passed()
    assert {info.ref for info in open_token(token).list()} == {
        KeyRef(AUTHORITY, Purpose.LICENCE, 2),
        KeyRef(served_code(served), Purpose.LICENCE_CA, 2),
    }
    names = {path.name for path in (served.directory / "keys").glob("*.licence*.key")}
    assert f"{AUTHORITY}.licence.1.key" in names
    assert call("doctor", str(served.directory)).returncode == 0


def served_code(served: ServedRegion) -> str:
    with served.open() as region:
        return region.namespace.code
