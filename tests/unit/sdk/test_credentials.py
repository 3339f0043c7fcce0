"""A directory of credentials, and a connection with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import yinxin
from support.connection import client_identity, present_hierarchy, server_identity
from support.fake_region import FakeRegion, pem, request_content
from support.hierarchy import DOMAIN, REGION
from support.region_builder import CODE
from yinxin import ApprovalKey, ConfigurationError, Context, Credentials, WrongPassphraseError
from yinxin_edge.tls import server_credentials
from yinxin_proto.suite import ES256

KEY = ES256.load_deterministic(4242)


def folder(path: Path, *, approval: bytes | None = None, **members: object) -> Path:
    """Write what a region hands over at enrolment."""
    hierarchy = present_hierarchy()
    identity = client_identity(hierarchy)
    (path / "client.crt").write_bytes(identity.certificate_chain)
    (path / "client.key").write_bytes(identity.private_key)
    (path / "tls-anchor.crt").write_bytes(identity.roots)
    stated = {"region": REGION, "domain": DOMAIN, "name": "虚构局", "authority": CODE}
    (path / "region.json").write_text(json.dumps({**stated, **members}), encoding="utf-8")
    if approval is not None:
        (path / "approval.key").write_bytes(approval)
    return path


def test_a_directory_is_read_whole(tmp_path: Path) -> None:
    loaded = Credentials.load(folder(tmp_path, approval=pem(KEY), root="root.json"))

    assert (loaded.region, loaded.domain, loaded.name, loaded.authority) == (
        REGION,
        DOMAIN,
        "虚构局",
        CODE,
    )
    assert loaded.root == tmp_path / "root.json"
    assert loaded.identity is not None
    assert loaded.approval_key is not None
    assert loaded.approval_key.signer().public_key == KEY.public_key


def test_a_verifier_has_no_approval_key(tmp_path: Path) -> None:
    loaded = Credentials.load(folder(tmp_path, authority=None))

    assert loaded.approval_key is None
    assert loaded.authority is None


def test_every_missing_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Credentials.load(tmp_path)

    named = {Path(item.field).name for item in caught.value.violations}
    assert named == {"client.crt", "client.key", "tls-anchor.crt", "region.json"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("region.json", b"{"),
        ("region.json", b"[]"),
        ("region.json", b'{"region":"000000","domain":"a.example"}'),
        ("region.json", b'{"region":"350300"}'),
        ("region.json", b'{"region":"350300","domain":"a.example","authority":"X"}'),
        ("region.json", b'{"region":"350300","domain":"a.example","name":1}'),
        ("region.json", b" " * 70_000),
        ("client.crt", b"no certificate"),
        ("client.key", b"no key"),
        ("tls-anchor.crt", b"no certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    folder(tmp_path)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        Credentials.load(tmp_path)

    assert caught.value.reason == "CREDENTIALS"
    assert caught.value.violations


def test_a_passphrase_is_asked_for_only_when_something_is_signed() -> None:
    asked: list[str] = []

    def ask() -> str:
        asked.append("once")
        return "正确的口令"

    key = ApprovalKey(pem(KEY, "正确的口令"), passphrase=ask)
    assert asked == []
    key.signer()
    key.signer()

    assert asked == ["once"]


def test_a_wrong_passphrase_is_not_a_damaged_key() -> None:
    with pytest.raises(WrongPassphraseError):
        ApprovalKey(pem(KEY, "right"), passphrase="wrong").signer()
    with pytest.raises(WrongPassphraseError) as caught:
        ApprovalKey(pem(KEY, "right")).signer()

    assert caught.value.reason == "PASSPHRASE_REQUIRED"


def test_what_is_no_key_is_a_setting_that_cannot_be_used() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ApprovalKey(b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n").signer()

    assert caught.value.reason == "APPROVAL_KEY"


def test_nothing_secret_shows_in_a_repr(tmp_path: Path) -> None:
    loaded = Credentials.load(folder(tmp_path, approval=pem(KEY)))

    assert "PRIVATE" not in repr(loaded)
    assert "PRIVATE" not in repr(loaded.approval_key)


def test_a_directory_connects_by_mutual_tls(tmp_path: Path, context: Context) -> None:
    hierarchy = present_hierarchy()
    region = FakeRegion()
    identity = client_identity(hierarchy)
    stated = {"region": REGION, "domain": DOMAIN, "authority": CODE}
    for name, data in (
        ("client.crt", identity.certificate_chain),
        ("client.key", identity.private_key),
        ("tls-anchor.crt", identity.roots),
        ("approval.key", pem(region.approval_key, "口令")),
        (
            "region.json",
            json.dumps(stated).encode(),
        ),
    ):
        (tmp_path / name).write_bytes(data)
    credentials = Credentials.load(tmp_path, passphrase="口令")
    tls = server_credentials(server_identity(hierarchy, hierarchy.tls.certificate))

    with (
        region.serve(tls) as address,
        yinxin.connect(address, credentials=credentials) as client,
    ):
        licence = client.issue(request_content(), context=context)

    assert licence.file is not None
