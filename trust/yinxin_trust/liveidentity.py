"""What a worker shows at its next TLS handshake, as certificate and CAs change.

Whatever cannot be read is left as it was: a server that stops answering because
a file is being replaced is worse than one that shows its certificate once more.
"""

from __future__ import annotations

import threading

from yinxin_edge.journal import Journal
from yinxin_edge.principal import PeerVerifier
from yinxin_edge.tls import TlsIdentity
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.error import YinxinError
from yinxin_trust.certification import tls_anchors
from yinxin_trust.permissionseal import PermissionSeal
from yinxin_trust.region import Region
from yinxin_trust.servercertificate import ServerCertificate


def peer_anchors(region: Region) -> dict[str, tuple[Certificate, ...]]:
    """Return the CAs whose clients are let in, by domain.

    Raises:
        IntegrityError: The records were changed behind the region's back
            (``PERMISSIONS``): a CA among them could be an intruder's.
    """
    with region.storage.read() as conn:
        PermissionSeal(region.keyring.integrity_key()).check(conn)
        return {region.namespace.domain: tuple(map(parse, tls_anchors(conn)))}


class LiveIdentity:
    """Follows the server's certificate; asked before every handshake.

    Args:
        certificate: What is followed.
        peers: Told of the CAs whenever these change.
        journal: What cannot be read is recorded there.
    """

    def __init__(
        self, *, certificate: ServerCertificate, peers: PeerVerifier, journal: Journal
    ) -> None:
        self._certificate = certificate
        self._peers = peers
        self._journal = journal
        self._lock = threading.Lock()
        self._stamp = certificate.stamp()

    def renewed(self) -> TlsIdentity | None:
        """Return what is to be shown from now on; None while nothing has changed."""
        try:
            with self._lock:
                stamp = self._certificate.stamp()
                if stamp == self._stamp:
                    return None
                identity = self._certificate.identity()
                # Before the handshake that a new CA's client is about to make.
                self._peers.replace_anchors(peer_anchors(self._certificate.region))
                self._stamp = stamp
        except YinxinError as error:
            self._journal.error("tls_not_reloaded", error)
            return None
        self._journal.info("tls_reloaded")
        return identity
