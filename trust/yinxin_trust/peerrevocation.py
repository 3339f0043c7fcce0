"""Which client certificates the region's TLS authority has revoked since.

Asked at every call, so the list is kept in memory and looked for in the
database every second; it is parsed when it changed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.clock import Clock
from yinxin_proto.crl import RevocationList, parse_crl
from yinxin_proto.error import IntegrityError
from yinxin_proto.signature import Suite
from yinxin_trust.certification import get_crls, issuing_cas
from yinxin_trust.storage import Storage

LOOK_AGAIN: Final = timedelta(seconds=1)


class PeerRevocation:
    """Says whether a client certificate is revoked; one per process, any thread.

    Args:
        storage: Where the newest list is.
        suite: Of the authority's key.
        clock: Decides when to look again.
    """

    def __init__(self, *, storage: Storage, suite: Suite, clock: Clock) -> None:
        self._storage = storage
        self._suite = suite
        self._clock = clock
        self._ders: dict[str, bytes] = {}
        self._lists: dict[str, RevocationList] = {}
        self._looked: datetime | None = None

    def __call__(self, certificate: Certificate) -> bool:
        """Tell whether the newest list that speaks for the certificate names it.

        Raises:
            IntegrityError: There is no such list, or one that the authority did
                not sign: nobody is believed then (``TLS_CRL``).
        """
        now = self._clock.now()
        if self._looked is None or not timedelta(0) <= now - self._looked < LOOK_AGAIN:
            self._look(now)
        speaking = self._speaking(certificate)
        if not speaking:
            # A CA may have come into use since.
            self._look(now)
            speaking = self._speaking(certificate)
        if not speaking:
            raise IntegrityError(
                "the database holds no TLS revocation list for this certificate", reason="TLS_CRL"
            )
        return any(listed.is_revoked(certificate.serial_number, now) for listed in speaking)

    def _speaking(self, certificate: Certificate) -> list[RevocationList]:
        return [
            listed
            for listed in self._lists.values()
            if listed.issuer == certificate.issuer and listed.covers(certificate)
        ]

    def _look(self, now: datetime) -> None:
        with self._storage.read() as conn:
            held = {
                name: (der, ca.certificate)
                for ca in issuing_cas(conn, "tls")
                for name, der in get_crls(conn, ca.label).items()
            }
        for name, (der, anchor) in held.items():
            if der != self._ders.get(name):
                self._lists[name] = parse_crl(der).verify(parse(anchor), suite=self._suite)
                self._ders[name] = der
        self._looked = now
