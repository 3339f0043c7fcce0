"""Certificate profiles (RFC 5280): what each kind of certificate may say.

A profile fixes everything but the subject, the key and the names; changing how
long a kind of certificate lives is ``dataclasses.replace(profile, validity=…)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography import x509

from yinxin_ca.subject import NameRule
from yinxin_proto.certificate import CertificatePurpose

BACKDATE: Final = timedelta(minutes=5)
"""How far clocks of those who verify may be behind ours."""

_YEAR: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of certificate."""

    name: str
    """Stable name, as the register records it."""
    validity: timedelta
    """From not_before to not_after, both included."""
    key_usage: x509.KeyUsage
    """Critical in every certificate."""
    purposes: tuple[CertificatePurpose, ...] = ()
    """Extended key usage; of an issuing CA, what it may certify for."""
    path_length: int | None = None
    """For an authority, how many authorities may follow; ``None`` for a leaf."""
    critical_purposes: bool = False
    """Whether who does not know the extended key usage must refuse; for time-stamping."""
    names: NameRule = NameRule.NONE
    """Subject alternative names."""
    answers_status: bool = False
    """Of an OCSP responder: nobody asks about it (id-pkix-ocsp-nocheck), so it lives briefly."""
    is_cross: bool = False
    """Of an authority's second certificate, under another issuer: name, key and
    key identifier are those of its first."""
    backdate: timedelta = BACKDATE
    """How long before the present moment validity starts."""

    @property
    def is_authority(self) -> bool:
        """Whether the certificate may sign others."""
        return self.path_length is not None


def _usage(**allowed: bool) -> x509.KeyUsage:
    none = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(none | allowed))


_SIGNS_CERTIFICATES: Final = _usage(key_cert_sign=True, crl_sign=True)
_SIGNS: Final = _usage(digital_signature=True)
_SIGNS_AND_STANDS_BY_IT: Final = _usage(digital_signature=True, content_commitment=True)

ROOT: Final = Profile(
    name="root", validity=20 * _YEAR, key_usage=_SIGNS_CERTIFICATES, path_length=2
)
"""The region's root, self-signed; certifies issuing authorities and nothing else."""

PQ_ROOT: Final = Profile(
    name="pq-root",
    validity=20 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(CertificatePurpose.CHECKPOINT_SIGNING,),
    path_length=0,
)
"""The parallel ML-DSA-65 root, self-signed; certifies the logs' cosigners alone."""

COSIGNER: Final = Profile(
    name="cosigner",
    validity=20 * _YEAR,
    key_usage=_SIGNS,
    purposes=(CertificatePurpose.CHECKPOINT_SIGNING,),
    names=NameRule.LOG,
)
"""A log's ML-DSA-44 key, by the log's origin. Verifiers judge it by no date."""

LICENCE_CA: Final = Profile(
    name="licence-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(CertificatePurpose.LICENCE_SIGNING, CertificatePurpose.OCSP_SIGNING),
    path_length=0,
)
"""Certifies the licence-signing keys of authorities."""

STATUS_CA: Final = Profile(
    name="status-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(CertificatePurpose.STATUS_SIGNING, CertificatePurpose.OCSP_SIGNING),
    path_length=0,
)
"""Certifies status-signing keys."""

TLS_CA: Final = Profile(
    name="tls-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(
        CertificatePurpose.TLS_SERVER,
        CertificatePurpose.TLS_CLIENT,
        CertificatePurpose.OCSP_SIGNING,
    ),
    path_length=1,
)
"""Certifies servers, those who call them, and its own successor."""

TLS_CA_CROSS: Final = Profile(
    name="tls-ca-cross",
    validity=3 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(
        CertificatePurpose.TLS_SERVER,
        CertificatePurpose.TLS_CLIENT,
        CertificatePurpose.OCSP_SIGNING,
    ),
    path_length=0,
)
"""The successor of a TLS CA, certified by its predecessor: who trusts only that
one still accepts a server of the new one."""

SEAL_CA: Final = Profile(
    name="seal-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(
        CertificatePurpose.SEALING,
        CertificatePurpose.PERSONAL_SIGNING,
        CertificatePurpose.OCSP_SIGNING,
    ),
    path_length=0,
)
"""Certifies what has the effect of a seal or signature on paper; a licensed
authority outside the region can take its place."""

TIMESTAMP_CA: Final = Profile(
    name="timestamp-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(CertificatePurpose.TIME_STAMPING, CertificatePurpose.OCSP_SIGNING),
    path_length=0,
)
"""Certifies time-stamp authorities, and falls with no other."""

MEMBER_CA: Final = Profile(
    name="member-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(
        CertificatePurpose.REQUEST_SIGNING,
        CertificatePurpose.OPERATION_SIGNING,
        CertificatePurpose.OCSP_SIGNING,
    ),
    path_length=0,
)
"""Certifies the keys of departments and of operators; never in the verdict on a licence."""

LICENCE: Final = Profile(
    name="licence",
    validity=3 * _YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.LICENCE_SIGNING,),
)
"""One issuing authority's key for licences; its subject carries the credit code."""

STATUS: Final = Profile(
    name="status", validity=_YEAR, key_usage=_SIGNS, purposes=(CertificatePurpose.STATUS_SIGNING,)
)
"""A key that signs status lists."""

TLS_SERVER: Final = Profile(
    name="tls-server",
    validity=_YEAR,
    key_usage=_SIGNS,
    purposes=(CertificatePurpose.TLS_SERVER,),
    names=NameRule.HOST,
)
"""A server, by DNS names and IP addresses."""

TLS_CLIENT: Final = Profile(
    name="tls-client",
    validity=_YEAR,
    key_usage=_SIGNS,
    purposes=(CertificatePurpose.TLS_CLIENT,),
    names=NameRule.PRINCIPAL,
)
"""A principal that calls, by URI."""

SEAL: Final = Profile(
    name="seal",
    validity=3 * _YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.SEALING,),
)
"""An organisation's electronic seal; its subject carries the credit code."""

PERSONAL_SIGNATURE: Final = Profile(
    name="personal-signature",
    validity=_YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.PERSONAL_SIGNING,),
)
"""A person's signature; named, never numbered."""

TIMESTAMP: Final = Profile(
    name="timestamp",
    validity=3 * _YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.TIME_STAMPING,),
    critical_purposes=True,
)
"""A time-stamp authority (RFC 3161 §2.3): for nothing else, and critically so."""

DEPARTMENT: Final = Profile(
    name="department",
    validity=3 * _YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.REQUEST_SIGNING,),
)
"""A department's key for the requests that it answers for."""

OPERATOR: Final = Profile(
    name="operator",
    validity=_YEAR,
    key_usage=_SIGNS_AND_STANDS_BY_IT,
    purposes=(CertificatePurpose.OPERATION_SIGNING,),
    names=NameRule.PRINCIPAL,
)
"""An officer's personal key for operations, by the principal's URI."""

CROSS_LICENCE_CA: Final = Profile(
    name="cross-licence-ca",
    validity=10 * _YEAR,
    key_usage=_SIGNS_CERTIFICATES,
    purposes=(CertificatePurpose.LICENCE_SIGNING, CertificatePurpose.OCSP_SIGNING),
    path_length=0,
    is_cross=True,
)
"""A licence CA, ours or a licensed one outside, under a second issuer."""

OCSP_RESPONDER: Final = Profile(
    name="ocsp-responder",
    validity=timedelta(days=30),
    key_usage=_SIGNS,
    purposes=(CertificatePurpose.OCSP_SIGNING,),
    answers_status=True,
)
"""Whom an authority lets answer for it (RFC 6960 §4.2.2.2)."""

PROFILES: Final = {
    profile.name: profile
    for profile in (
        ROOT,
        LICENCE_CA,
        STATUS_CA,
        TLS_CA,
        TLS_CA_CROSS,
        SEAL_CA,
        TIMESTAMP_CA,
        MEMBER_CA,
        LICENCE,
        STATUS,
        TLS_SERVER,
        TLS_CLIENT,
        SEAL,
        PERSONAL_SIGNATURE,
        TIMESTAMP,
        DEPARTMENT,
        OPERATOR,
        OCSP_RESPONDER,
        CROSS_LICENCE_CA,
    )
}
"""By name, as registers record it."""
