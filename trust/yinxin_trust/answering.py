"""Who answers for the region's authorities: its OCSP responder and its time-stamper.

Both keys are the region's own; their certificates are issued here, by the
authorities themselves, when they are first needed, when the key or authority
is another, and when half their life is over: so they are never missing, and
nobody has to remember them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import Purpose
from yinxin_ca.ocsp import Delegation, OcspResponder
from yinxin_ca.profile import OCSP_RESPONDER, TIMESTAMP, Profile
from yinxin_ca.subject import Subject
from yinxin_ca.timestamp import TimestampAuthority
from yinxin_ca.timestampbook import TimestampBook
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.error import IntegrityError, YinxinError
from yinxin_proto.ocsp import CertId
from yinxin_proto.signature import PublicKey
from yinxin_trust.certification import IssuingCa, issuing_cas, open_authority
from yinxin_trust.keystage import Stage
from yinxin_trust.region import Region
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.trustlisting import get_anchors

T = TypeVar("T")

OCSP_LIFETIME: Final = timedelta(hours=1)
"""How long an answer may be relied upon, and so how late a revocation may be seen."""
_LOOK_AGAIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """A certificate of a key of the region's own, kept in the database."""

    region: Region
    authority: IssuingCa
    """Who issues it."""
    profile: Profile
    common_name: str
    key: PublicKey

    def current(self) -> Certificate:
        """Return the present certificate; issue one where it will not do any more.

        Raises:
            YinxinError: There is none that holds, and none can be issued.
        """
        issuer = parse(self.authority.certificate)
        with self.region.storage.read() as conn:
            text = get_setting(conn, self._setting)
        kept = None if text is None else parse(bytes.fromhex(text))
        if kept is not None and self._is_ours(kept, issuer) and not self._is_aged(kept):
            return kept
        try:
            return self._issue()
        except YinxinError:
            # The authority's key may be out of reach for a while: what holds still holds.
            if kept is None or not self._is_ours(kept, issuer) or self._is_over(kept):
                raise
            return kept

    @property
    def _setting(self) -> str:
        return f"certificate/{self.profile.name}/{self.authority.label}"

    def _is_ours(self, kept: Certificate, issuer: Certificate) -> bool:
        return (
            kept.spki == self.key.spki
            and kept.issuer == issuer.subject
            and kept.authority_key_id == issuer.subject_key_id
        )

    def _is_aged(self, kept: Certificate) -> bool:
        life = kept.not_after - kept.not_before
        return (self.region.clock.now() - kept.not_before) * 2 >= life

    def _is_over(self, kept: Certificate) -> bool:
        return self.region.clock.now() > kept.not_after

    def _issue(self) -> Certificate:
        der = authority_of(self.region, self.authority).issue(
            self.profile,
            subject=Subject(organisation=self.region.namespace.name, common_name=self.common_name),
            public_key=self.key,
        )
        with self.region.storage.write() as conn:
            put_setting(conn, self._setting, der.hex())
        return parse(der)


class Answering:
    """The responder and the time-stamper of an opened region; any thread.

    Args:
        region: Opened.
        book: The time-stamper's.
    """

    def __init__(self, *, region: Region, book: TimestampBook) -> None:
        self._region = region
        self._book = book
        self._authorities = _Renewed(region, self._answered)
        self._delegations: dict[bytes, _Renewed[Delegation]] = {}
        self.stamper: Callable[[], TimestampAuthority] = _Renewed(region, self._stamper)
        """Returns the time-stamp authority, under its present certificate."""
        self.responder = OcspResponder(
            delegation=self._delegation_for, clock=region.clock, lifetime=OCSP_LIFETIME
        )

    def prepare(self) -> tuple[YinxinError, ...]:
        """Have every certificate issued that is needed, before anybody asks.

        One that cannot be had keeps nobody from the others: who asks for what
        needs it is told to try later.

        Returns:
            Why some could not be had.
        """
        wanted: list[Callable[[], object]] = [self.stamper]
        wanted += [self._renewed(ca) for ca in self._authorities()]
        return tuple(error for make in wanted if (error := _failure(make)) is not None)

    def _answered(self) -> tuple[IssuingCa, ...]:
        with self._region.storage.read() as conn:
            # Who lost its key signs no responder: its last list speaks for it. A stolen
            # one's responder could be anybody: nothing is said of what it certified.
            silent = (Stage.DESTROYED, Stage.COMPROMISED)
            return tuple(ca for ca in issuing_cas(conn) if ca.key.stage not in silent)

    def _delegation_for(self, named: CertId) -> Delegation | None:
        for ca in self._authorities():
            if named.names(parse(ca.certificate)):
                return self._renewed(ca)()
        return None

    def _renewed(self, ca: IssuingCa) -> _Renewed[Delegation]:
        # One each: a key that is out of reach silences its own authority alone.
        made = _Renewed(self._region, lambda: self._delegate(ca))
        return self._delegations.setdefault(ca.certificate, made)

    def _delegate(self, ca: IssuingCa) -> Delegation:
        with self._region.storage.read() as conn:
            keyring = self._region.keyring.at(conn)
        # A responder's key is of its authority's suite, and TLS has its own everywhere.
        signer = keyring.signer(Purpose.TLS_OCSP if ca.name == "tls" else Purpose.OCSP)
        own = OwnCertificate(
            region=self._region,
            authority=ca,
            profile=OCSP_RESPONDER,
            common_name="OCSP responder",
            key=signer.public_key,
        )
        return Delegation(
            issuer=parse(ca.certificate),
            register=self._region.foundation.registers(ca.label),
            responder=own.current(),
            signer=signer,
        )

    def _stamper(self) -> TimestampAuthority:
        region = self._region
        with region.storage.read() as conn:
            signer = region.keyring.at(conn).signer(Purpose.TIMESTAMP)
            above = get_anchors(conn).timestamp
            issuers = [ca for ca in issuing_cas(conn) if ca.certificate == above]
        if not issuers:
            raise IntegrityError(
                "the records have no time-stamp authority with that certificate",
                reason="ANCHOR_RECORD",
            )
        own = OwnCertificate(
            region=region,
            authority=issuers[0],
            profile=TIMESTAMP,
            common_name="Time-stamping",
            key=signer.public_key,
        ).current()
        return TimestampAuthority(
            chain=(own.der, above), signer=signer, book=self._book, clock=region.clock
        )


def _failure(make: Callable[[], object]) -> YinxinError | None:
    try:
        make()
    except YinxinError as error:
        return error
    return None


class _Renewed(Generic[T]):
    """Something that is made anew each minute; one per process, any thread."""

    def __init__(self, region: Region, make: Callable[[], T]) -> None:
        self._clock = region.clock
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[datetime, T] | None = None

    def __call__(self) -> T:
        now = self._clock.now()
        with self._lock:
            if self._made is None or not timedelta(0) <= now - self._made[0] < _LOOK_AGAIN:
                self._made = (now, self._make())
            return self._made[1]


def authority_of(region: Region, ca: IssuingCa) -> CertificateAuthority:
    """Open one of the region's issuing authorities."""
    with region.storage.read() as conn:
        return open_authority(
            ca.name,
            anchors=get_anchors(conn),
            certificate=ca.certificate,
            keyring=region.keyring.at(conn),
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
        )
