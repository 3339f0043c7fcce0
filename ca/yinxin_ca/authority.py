"""A certificate authority: signs certificates and revocation lists.

It never holds a private key, only a `Signer`. What it is about to sign is
examined under a throw-away key (`yinxin_ca.lint`), then recorded, then signed,
then recorded as issued. Never move the recording after the signing, and never
retry a signature under the same serial number: a power cut in between would
leave a certificate that nobody knows of, or two under one number.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from yinxin_ca import assembly, der
from yinxin_ca.lint import lint_certificate, lint_crl, refuse, under_throw_away_key
from yinxin_ca.location import Locations, shard_of
from yinxin_ca.profile import ROOT, Profile
from yinxin_ca.register import CertificateRecord, Register, is_compromised
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import Certificate, CertificatePurpose, parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.crl import MAX_CRL_ENTRIES, RevocationReason
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from yinxin_proto.nameconstraint import PermittedNames
from yinxin_proto.signature import PublicKey, Signer, Suite

_AUTHORITY_USAGES: Final = frozenset({"keyCertSign", "cRLSign"})
_SECOND: Final = timedelta(seconds=1)
_NO_NAMES: Final = AlternativeNames()


class CertificateAuthority:
    """One authority: a certificate, the key behind it, and its register.

    Args:
        certificate: Its own DER certificate.
        signer: The key that the certificate names.
        register: Its own register, shared with no other authority.
        clock: Dates what it signs.
        entropy: Draws serial numbers.
        issuers: DER certificates above it without the root, nearest first.
        locations: Where its CRL and certificate are published.
        is_compromised: Says of a DER SPKI whether another authority knows that
            key as stolen; its own register is asked anyway.

    Raises:
        ConfigurationError: The certificate names another key (reason
            ``CA_KEY_MISMATCH``) or may not sign certificates (``NOT_A_CA``).
        MalformedError: Not a certificate (``CERTIFICATE``).
    """

    def __init__(
        self,
        *,
        certificate: bytes,
        signer: Signer,
        register: Register,
        clock: Clock,
        entropy: Entropy,
        issuers: tuple[bytes, ...] = (),
        locations: Locations | None = None,
        is_compromised: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._own = parse(certificate)
        if self._own.spki != signer.public_key.spki:
            raise ConfigurationError(
                "the authority's certificate names another key; open the key store that has "
                "its key",
                reason="CA_KEY_MISMATCH",
            )
        usages, identifier = self._own.key_usages, self._own.subject_key_id
        if not (self._own.is_ca and usages >= _AUTHORITY_USAGES and identifier):
            raise ConfigurationError(
                "the certificate is not one of an authority that signs certificates and CRLs",
                reason="NOT_A_CA",
            )
        self._signer = signer
        self._register = register
        self._clock = clock
        self._entropy = entropy
        self._issuers = issuers
        self._locations = locations if locations is not None else Locations()
        self._is_compromised = is_compromised

    @property
    def certificate(self) -> bytes:
        """Its own DER certificate."""
        return self._own.der

    def issue(
        self,
        profile: Profile,
        *,
        subject: Subject,
        public_key: PublicKey,
        names: AlternativeNames = _NO_NAMES,
        not_before: datetime | None = None,
    ) -> bytes:
        """Sign a certificate.

        Validity starts ``profile.backdate`` ago unless ``not_before`` says
        later, lasts ``profile.validity``, and is cut to the authority's own.

        Args:
            profile: What kind; must be within what this authority certifies.
            subject: Whom it is for.
            public_key: The key to certify; its holder has proven possession.
            names: Alternative names, as the profile's rule demands.
            not_before: Start of validity, when it is to be later.

        Returns:
            The DER certificate.

        Raises:
            InvalidArgumentError: A profile that this authority does not
                certify (reason ``ISSUER_PURPOSE``), an authority under this
                one's name (``ISSUER_NAME_REUSE``), names against the profile's
                rule (``NAME_RULE``), a start in the past (``NOT_BEFORE``), or
                the authority's own key (``KEY_REUSE``).
            FailedPreconditionError: The authority is not valid now or then
                (``ISSUER_VALIDITY``), or the key was revoked as compromised
                (``KEY_COMPROMISED``).
            InvalidArgumentError: What would be signed breaks a rule (``LINT``,
                every finding listed): nothing was recorded or signed.
        """
        names.check(profile.names)
        self._check_profile(profile, subject)
        self._check_key(public_key)
        start, end = self._validity(profile, not_before)
        serial = assembly.draw_serial(self._entropy)
        draft = assembly.Draft(
            profile=profile,
            subject=subject,
            names=names,
            public_key=public_key,
            serial=serial,
            not_before=start,
            not_after=end,
        )
        extensions = [(self._key_identifier(), False), *self._locations.to_extensions(serial)]
        tbs = assembly.certificate_tbs(
            draft, issuer=self._own.subject, extensions=extensions, suite=self._suite
        )
        examine(tbs, profile=profile, issuer=self._own, suite=self._suite)
        return _sign_recorded(self._register, self._signer, serial, profile, tbs)

    def cross_certify(
        self,
        certificate: bytes,
        *,
        profile: Profile,
        public_key: PublicKey,
        permitted: PermittedNames | None = None,
    ) -> bytes:
        """Sign a second certificate of an authority that another has certified.

        Subject, key and key identifier are those of its first certificate, so
        that what it issued has two paths. Its issuer is named by key
        identifier alone; were the first certificate's issuer and serial number
        named anywhere below, the second path would be shut.

        Args:
            certificate: Its first DER certificate. The caller has verified who
                has its key: by a chain to an anchor that an officer pinned, or
                by a request signed with it.
            profile: A cross profile, which bounds purposes and path length.
            public_key: The key in it.
            permitted: What it may name; None: anything.

        Raises:
            InvalidArgumentError: Not an authority's certificate, or not of
                this key (``CROSS_SUBJECT``); a purpose that it does not have
                itself (``CROSS_PURPOSE``); our own name or key; and as `issue`.
            FailedPreconditionError: As `issue`; or it ends too soon to be
                certified (``CROSS_VALIDITY``).
            MalformedError: Not a certificate.
        """
        other = parse(certificate)
        check_cross(other, profile, public_key)
        subject = Subject(organisation="-")
        self._check_profile(profile, subject)
        if other.subject == self._own.subject:
            raise InvalidArgumentError(
                "an authority needs a name of its own", reason="ISSUER_NAME_REUSE"
            )
        self._check_key(public_key)
        start, end = self._validity(profile, None)
        if other.not_after <= start:
            raise FailedPreconditionError(
                "the authority's first certificate has ended; renew that one first",
                reason="CROSS_VALIDITY",
            )
        serial = assembly.draw_serial(self._entropy)
        draft = assembly.CrossDraft(
            profile=profile,
            subject=subject,
            names=_NO_NAMES,
            public_key=public_key,
            serial=serial,
            not_before=start,
            not_after=min(end, other.not_after),
            permitted=permitted,
            certified=other,
        )
        extensions = [(self._key_identifier(), False), *self._locations.to_extensions(serial)]
        tbs = assembly.certificate_tbs(
            draft, issuer=self._own.subject, extensions=extensions, suite=self._suite
        )
        examine(tbs, profile=profile, issuer=self._own, suite=self._suite)
        return _sign_recorded(self._register, self._signer, serial, profile, tbs)

    def revoke(self, serial: int, reason: RevocationReason, *, at: datetime | None = None) -> None:
        """Record that a certificate is not to be relied upon from ``at`` (now).

        It reaches others with the next list; see `sign_crl`.

        Raises:
            NotFoundError: This authority signed no such certificate
                (reason ``CERTIFICATE_NOT_FOUND``).
            FailedPreconditionError: Revoked already (``ALREADY_REVOKED``).
            InvalidArgumentError: ``at`` is in the future (``REVOKED_AT``).
        """
        now = self._now()
        if at is not None and at > now:
            raise InvalidArgumentError(
                "a revocation cannot be dated in the future", reason="REVOKED_AT"
            )
        self._register.record_revoked(
            serial, reason, now if at is None else at.replace(microsecond=0)
        )

    def sign_crl(self, *, lifetime: timedelta) -> bytes:
        """Sign the complete list of everything revoked, expired certificates included.

        What expired stays on the list: a verdict may be asked for a past
        moment. Numbers grow by one.

        Args:
            lifetime: How long until the next list is there at the latest.

        Returns:
            The DER CertificateList.

        Raises:
            InvalidArgumentError: A lifetime of less than a second, or a list
                that breaks a rule (``LINT``).
            ConflictError: Another process made a list at this moment
                (reason ``CRL_NUMBER``); try again.
            ResourceExhaustedError: More entries than readers accept.
        """
        return self._sign_list(self._register.revoked(), (), lifetime)

    def sign_crls(self, *, lifetime: timedelta) -> dict[str, bytes]:
        """Sign every list of this authority: one, or one for each shard.

        A certificate is on the list whose address it carries. Without shards
        there is the complete list alone; with them, the list at the
        authority's own address is complete only as long as a certificate
        carries no address at all.

        Args:
            lifetime: How long until the next lists are there at the latest.

        Returns:
            DER lists by `yinxin_ca.location.shard_of` their addresses; ``""``
            is always there.

        Raises:
            As `sign_crl`.
        """
        placed = [(record, record.read().crl_urls) for record in self._register.records()]
        addresses: dict[str, list[str]] = {"": []}
        for url in (*self._locations.shard_urls(), *(url for _, urls in placed for url in urls)):
            known = addresses.setdefault(shard_of(url), [])
            if url not in known:
                known.append(url)
        if len(addresses) == 1:
            return {"": self.sign_crl(lifetime=lifetime)}
        if self._locations.crl is not None and self._locations.crl not in addresses[""]:
            addresses[""].append(self._locations.crl)
        complete = any(not urls for _, urls in placed)
        lists = {}
        for shard, urls in sorted(addresses.items()):
            if shard == "" and complete:
                lists[shard] = self.sign_crl(lifetime=lifetime)
                continue
            revoked = [
                record
                for record, found in placed
                if record.revoked_at is not None and not set(urls).isdisjoint(found)
            ]
            lists[shard] = self._sign_list(revoked, tuple(urls), lifetime)
        return lists

    def _sign_list(
        self, records: Sequence[CertificateRecord], addresses: tuple[str, ...], lifetime: timedelta
    ) -> bytes:
        if lifetime < _SECOND:
            raise InvalidArgumentError("a CRL lives for a second at least", reason="CRL_LIFETIME")
        if len(records) > MAX_CRL_ENTRIES:
            raise ResourceExhaustedError(
                f"a CRL has at most {MAX_CRL_ENTRIES} entries; sort new certificates into more "
                "shards, or start a new issuing authority",
                reason="CRL_ENTRIES",
            )
        number, now = self._register.crl_number() + 1, self._now()
        tbs = assembly.crl_tbs(
            assembly.CrlDraft(
                number=number,
                this_update=now,
                next_update=now + lifetime,
                records=records,
                addresses=addresses,
            ),
            issuer=self._own.subject,
            key_identifier=self._key_identifier(),
            suite=self._suite,
        )
        draft = under_throw_away_key(tbs, self._suite)
        refuse("revocation list", lint_crl(draft, issuer=self._own, suite=self._suite))
        self._register.record_crl(number, tbs)
        return _sign(self._signer, tbs)

    def chain(self, leaf: bytes) -> tuple[bytes, ...]:
        """Return ``leaf`` and what is above it, without the root: as ``x5c`` has it.

        Raises:
            NotFoundError: This authority did not sign it
                (reason ``CERTIFICATE_NOT_FOUND``).
        """
        record = self._register.find(parse(leaf).serial_number)
        if record is None or record.der != leaf:
            raise NotFoundError(
                "this authority did not sign that certificate", reason="CERTIFICATE_NOT_FOUND"
            )
        own = () if self._is_root else (self.certificate,)
        return (leaf, *own, *self._issuers)

    @property
    def _is_root(self) -> bool:
        return self._own.subject == self._own.issuer

    @property
    def _suite(self) -> Suite:
        return self._signer.public_key.suite

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        # The key's identifier alone: issuer and serial would tie what is
        # signed here to one certificate of ours, and forbid cross-signing.
        return x509.AuthorityKeyIdentifier(self._own.subject_key_id, None, None)

    def _check_profile(self, profile: Profile, subject: Subject) -> None:
        if profile.path_length is not None:
            allowed = self._own.path_length is None or profile.path_length < self._own.path_length
        else:
            # A root certifies authorities alone: its key stays offline. One that
            # may have none under it, as the parallel root, certifies leaves.
            allowed = not self._is_root or self._own.path_length == 0
        if self._own.purposes:
            purposes = frozenset(profile.purposes)
            allowed = allowed and bool(purposes) and purposes <= self._own.purposes
        if not allowed:
            raise InvalidArgumentError(
                f"this authority does not certify for profile {profile.name}",
                reason="ISSUER_PURPOSE",
            )
        # Under its issuer's name it would pass for a root.
        if profile.is_authority and subject.to_name().public_bytes() == self._own.subject:
            raise InvalidArgumentError(
                "an authority needs a name of its own", reason="ISSUER_NAME_REUSE"
            )

    def _check_key(self, key: PublicKey) -> None:
        if key.spki == self._signer.public_key.spki:
            raise InvalidArgumentError(
                "an authority does not certify its own key again", reason="KEY_REUSE"
            )
        # One compromised key, one refusal, whoever asks and for whatever profile.
        elsewhere = self._is_compromised is not None and self._is_compromised(key.spki)
        if elsewhere or is_compromised(self._register, key.spki):
            raise FailedPreconditionError(
                "the key was revoked as compromised; generate another",
                reason="KEY_COMPROMISED",
            )

    def _validity(self, profile: Profile, not_before: datetime | None) -> tuple[datetime, datetime]:
        now = self._now()
        start = now - profile.backdate
        if not_before is not None:
            if not_before < start:
                raise InvalidArgumentError("validity cannot start in the past", reason="NOT_BEFORE")
            start = not_before.replace(microsecond=0)
        first, last = self._own.not_before, self._own.not_after
        if not first <= now <= last or start > last:
            raise FailedPreconditionError(
                "the authority's own certificate is not valid at that time; renew it",
                reason="ISSUER_VALIDITY",
            )
        return max(start, first), min(start + profile.validity - _SECOND, last)


def check_cross(other: Certificate, profile: Profile, public_key: PublicKey) -> None:
    """Refuse to give an authority a second certificate that is wider than its first.

    Raises:
        InvalidArgumentError: See `CertificateAuthority.cross_certify`.
    """
    fits = (
        profile.is_cross
        and profile.path_length is not None
        and other.is_ca
        and other.key_usages >= _AUTHORITY_USAGES
        and other.subject_key_id is not None
        and other.spki == public_key.spki
        and (other.path_length is None or profile.path_length <= other.path_length)
    )
    if not fits:
        raise InvalidArgumentError(
            "not the certificate of an authority with this key, or not of this profile",
            reason="CROSS_SUBJECT",
        )
    # OCSP is the authority's own affair: whether it names responders is not widened by us.
    wanted = frozenset(profile.purposes) - {CertificatePurpose.OCSP_SIGNING}
    if other.purposes and not wanted <= other.purposes:
        raise InvalidArgumentError(
            "the authority's first certificate does not let it certify for this purpose",
            reason="CROSS_PURPOSE",
        )


def create_root(
    *,
    subject: Subject,
    signer: Signer,
    register: Register,
    clock: Clock,
    entropy: Entropy,
    profile: Profile = ROOT,
    locations: Locations | None = None,
) -> CertificateAuthority:
    """Sign a root certificate with its own key, and return the authority.

    Args:
        subject: The region's name; ``organisation`` and ``common_name``.
        signer: The root key.
        register: The root's own register.
        clock: Dates the certificate.
        entropy: Draws its serial number.
        profile: `ROOT`, or one that lives longer or shorter.
        locations: Written into what the root signs, not into itself.
    """
    start = clock.now().replace(microsecond=0) - profile.backdate
    draft = assembly.Draft(
        profile=profile,
        subject=subject,
        names=_NO_NAMES,
        public_key=signer.public_key,
        serial=assembly.draw_serial(entropy),
        not_before=start,
        not_after=start + profile.validity - _SECOND,
    )
    suite = signer.public_key.suite
    tbs = assembly.certificate_tbs(draft, issuer=None, extensions=(), suite=suite)
    examine(tbs, profile=profile, issuer=None, suite=suite)
    certificate = _sign_recorded(register, signer, draft.serial, profile, tbs)
    return CertificateAuthority(
        certificate=certificate,
        signer=signer,
        register=register,
        clock=clock,
        entropy=entropy,
        locations=locations,
    )


def to_pem(certificates: Iterable[bytes]) -> bytes:
    """Return DER certificates as one PEM bundle (RFC 7468 §5), in the order given."""
    return b"".join(_pem(certificate) for certificate in certificates)


def _pem(certificate: bytes) -> bytes:
    text = base64.b64encode(certificate)
    lines = (text[start : start + 64] for start in range(0, len(text), 64))
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))


def _sign_recorded(
    register: Register, signer: Signer, serial: int, profile: Profile, tbs: bytes
) -> bytes:
    register.record_intent(serial, profile.name, tbs)
    certificate = _sign(signer, tbs)
    register.record_issued(serial, certificate)
    return certificate


def _sign(signer: Signer, tbs: bytes) -> bytes:
    key = signer.public_key
    signature = signer.sign(tbs)
    # A faulty device or the wrong key must not get a bad signature published.
    key.verify(signature, tbs)
    return der.signed(tbs, key.suite.x509_signature_oid(), key.suite.to_x509_signature(signature))


def examine(tbs: bytes, *, profile: Profile, issuer: Certificate | None, suite: Suite) -> None:
    """Refuse to sign a certificate that breaks a rule of `yinxin_ca.lint`.

    Raises:
        InvalidArgumentError: It breaks rules (reason ``LINT``); all are listed.
    """
    draft = under_throw_away_key(tbs, suite)
    refuse("certificate", lint_certificate(draft, profile=profile, issuer=issuer, suite=suite))
