"""A department renews its own certificate; stopped at any step, it still can call."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from support.running_region import PARENT, VERIFIER, RunningRegion
from support.served_region import call
from yinxin import Client, Credentials, connect
from yinxin.credentialsfile import CERTIFICATE, NEXT, PRIVATE_KEY, REQUEST
from yinxin.renewal import is_due, principal_of
from yinxin_ca.request import make_request
from yinxin_ca.subject import Subject
from yinxin_proto.error import ConfigurationError, PermissionDeniedError
from yinxin_proto.suite import ES256
from yinxin_proto.v1.administration_pb2 import GetRegionRequest
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceStub


@pytest.fixture
def folder(stored: RunningRegion, tmp_path: Path) -> Path:
    """Credentials of a department."""
    made = tmp_path / "client"
    made.mkdir()
    shown = stored.identities[VERIFIER]
    (made / CERTIFICATE).write_bytes(shown.certificate_chain)
    (made / PRIVATE_KEY).write_bytes(shown.private_key)
    (made / "tls-anchor.crt").write_bytes(shown.roots)
    (made / "region.json").write_text(
        json.dumps({"region": "350300", "domain": "putian.example", "name": "虚构部门"})
    )
    return made


def _client(stored: RunningRegion, folder: Path) -> Client:
    return connect(stored.target, credentials=Credentials.load(folder))


def _calls(stored: RunningRegion, folder: Path) -> bool:
    identity = Credentials.load(folder).identity
    assert identity is not None
    with stored.channel(identity) as channel:
        stub = AdministrationServiceStub(channel)
        return bool(stub.GetRegion(GetRegionRequest(name=PARENT)).name)


def _serial(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).serial_number


def test_a_certificate_is_renewed_with_a_new_key(stored: RunningRegion, folder: Path) -> None:
    key, serial = (folder / PRIVATE_KEY).read_bytes(), _serial(folder)
    with _client(stored, folder) as client:
        made = client.renew_certificate(folder)
    assert made.principal == VERIFIER == principal_of(folder)
    assert (folder / PRIVATE_KEY).read_bytes() != key
    assert _serial(folder) != serial
    assert (folder / PRIVATE_KEY).stat().st_mode & 0o077 == 0
    assert not list(folder.glob(f"*{NEXT}"))
    assert _calls(stored, folder)


def test_an_answer_that_was_lost_is_asked_for_again(stored: RunningRegion, folder: Path) -> None:
    before = shutil.copytree(folder, folder.parent / "before")
    with _client(stored, folder) as client:
        client.renew_certificate(folder)
        serial = _serial(folder)
        # As if the power had gone after the question, before the answer was on disk.
        (before / f"{PRIVATE_KEY}{NEXT}").write_bytes((folder / PRIVATE_KEY).read_bytes())
        with _client(stored, before) as again:
            again.renew_certificate(before)
    assert _calls(stored, before)
    assert _serial(before) != serial


@pytest.mark.parametrize("moved", ["nothing", "key"])
def test_a_swap_that_was_interrupted_is_finished_when_the_folder_is_loaded(
    moved: str, stored: RunningRegion, folder: Path
) -> None:
    done = shutil.copytree(folder, folder.parent / "done")
    with _client(stored, done) as client:
        client.renew_certificate(done)
    for name in (CERTIFICATE, PRIVATE_KEY):
        shutil.copy(done / name, folder / f"{name}{NEXT}")
    (folder / f"{REQUEST}{NEXT}").write_bytes(b"x")
    if moved == "key":
        (folder / f"{PRIVATE_KEY}{NEXT}").replace(folder / PRIVATE_KEY)
    assert _calls(stored, folder)
    assert _serial(folder) == _serial(done)
    assert not list(folder.glob(f"*{NEXT}"))


def test_a_request_that_was_left_behind_is_not_sent_for_another_key(
    stored: RunningRegion, folder: Path
) -> None:
    # Cut short at the end of one renewal and at the beginning of the next: the request is
    # still that for the present key, the next key is there.
    with _client(stored, folder) as client:
        client.renew_certificate(folder)
    present = ES256.load_private(
        load_pem_private_key((folder / PRIVATE_KEY).read_bytes(), None).private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    stale = make_request(present, subject=Subject(organisation="虚构部门"))
    (folder / f"{REQUEST}{NEXT}").write_bytes(stale)
    following = ec.generate_private_key(ec.SECP256R1())
    (folder / f"{PRIVATE_KEY}{NEXT}").write_bytes(
        following.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with _client(stored, folder) as client:
        client.renew_certificate(folder)
    assert _calls(stored, folder)


def test_what_is_no_key_is_named(stored: RunningRegion, folder: Path) -> None:
    (folder / f"{PRIVATE_KEY}{NEXT}").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    with _client(stored, folder) as client, pytest.raises(ConfigurationError) as refused:
        client.renew_certificate(folder)
    assert refused.value.reason == "CREDENTIALS"
    assert _calls(stored, folder)


def test_a_refusal_leaves_the_credentials_as_they_were(stored: RunningRegion, folder: Path) -> None:
    serial = _serial(folder)
    region = stored.region
    with region.storage.write() as conn:
        region.registrar.set_enabled(conn, VERIFIER, enabled=False)
    try:
        with _client(stored, folder) as client, pytest.raises(PermissionDeniedError):
            client.renew_certificate(folder)
    finally:
        with region.storage.write() as conn:
            region.registrar.set_enabled(conn, VERIFIER, enabled=True)
    assert _serial(folder) == serial
    assert _calls(stored, folder)


def test_it_is_due_when_a_third_is_left(folder: Path) -> None:
    leaf = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    third = (end - start) / 3
    assert not is_due(folder, end - third - timedelta(seconds=1))
    assert is_due(folder, end - third + timedelta(seconds=1))


def test_a_folder_without_a_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        principal_of(tmp_path)
    assert caught.value.reason == "CREDENTIALS"


def test_the_command_renews_when_it_is_due(stored: RunningRegion, folder: Path) -> None:
    words = ("renew", "--server", stored.target, "--credentials", str(folder), "--json")
    early = call(*words, "--if-due")
    assert early.returncode == 0, early.stderr
    assert json.loads(early.stdout) == {"renewed": False}
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["principal"] == VERIFIER
    assert _calls(stored, folder)
