from __future__ import annotations

import grpc
import pytest

from support.connection import client_identity, server_identity
from support.hierarchy import Hierarchy
from yinxin_edge.tls import TlsIdentity, channel_credentials, server_credentials
from yinxin_proto.error import ConfigurationError


@pytest.fixture(scope="module")
def identity() -> TlsIdentity:
    return server_identity(Hierarchy())


def test_what_fits_together_makes_credentials(identity: TlsIdentity) -> None:
    assert isinstance(server_credentials(identity), grpc.ServerCredentials)
    assert isinstance(channel_credentials(identity), grpc.ChannelCredentials)


@pytest.mark.parametrize("wrong", [b"", b"not PEM", b"-----BEGIN X-----\nAA==\n-----END X-----\n"])
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("private_key", "TLS_KEY"),
        ("certificate_chain", "TLS_CERTIFICATE"),
        ("roots", "TLS_ROOTS"),
    ],
)
def test_what_is_not_pem_is_named(
    identity: TlsIdentity, member: str, reason: str, wrong: bytes
) -> None:
    members = {
        "private_key": identity.private_key,
        "certificate_chain": identity.certificate_chain,
        "roots": identity.roots,
    }
    with pytest.raises(ConfigurationError) as caught:
        TlsIdentity(**members | {member: wrong})
    assert caught.value.reason == reason


def test_anothers_key_is_refused_and_never_shown(identity: TlsIdentity) -> None:
    other = client_identity(Hierarchy())
    with pytest.raises(ConfigurationError) as caught:
        TlsIdentity(
            private_key=other.private_key,
            certificate_chain=identity.certificate_chain,
            roots=identity.roots,
        )
    assert caught.value.reason == "TLS_KEY_MISMATCH"
    assert "PRIVATE KEY" not in repr(identity)
