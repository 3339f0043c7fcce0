"""An invented region's authorities: a root, and one for each purpose under it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.location import Locations
from yinxin_ca.profile import (
    COSIGNER,
    DEPARTMENT,
    LICENCE,
    LICENCE_CA,
    MEMBER_CA,
    OCSP_RESPONDER,
    OPERATOR,
    PERSONAL_SIGNATURE,
    PQ_ROOT,
    SEAL,
    SEAL_CA,
    STATUS,
    STATUS_CA,
    TIMESTAMP,
    TIMESTAMP_CA,
    TLS_CA,
    TLS_CLIENT,
    TLS_SERVER,
    Profile,
)
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.software import SoftwareKeyStore, in_memory_key_store
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_proto.logkey import log_uri
from yinxin_proto.signature import PublicKey
from yinxin_proto.suite import ES256, ML_DSA_65, Suite

REGION = "350399"
DOMAIN = "licences.example.cn"
ORGANISATION = "虚构市大数据管理局"
AUTHORITY = Subject(
    organisation="虚构市市场监督管理局",
    organisation_code="11350399MB0000017D",
    common_name="虚构市市场监督管理局 电子证照签发",
)
"""An invented authority; its credit code passes the check and belongs to nobody."""


@dataclass
class Hierarchy:
    """Authorities of one region, with what they were made of."""

    clock: FixedClock = field(default_factory=FixedClock)
    suite: Suite = ES256
    """Of everything but the root and TLS."""
    root_suite: Suite = ES256
    entropy: SeededEntropy = field(default_factory=SeededEntropy)
    keys: SoftwareKeyStore = field(init=False)
    root: CertificateAuthority = field(init=False)
    parallel: CertificateAuthority = field(init=False)
    """The ML-DSA-65 root of the logs' cosigners."""
    root_register: InMemoryRegister = field(default_factory=InMemoryRegister)
    registers: dict[Purpose, InMemoryRegister] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = in_memory_key_store(clock=self.clock, entropy=self.entropy)
        self.root = create_root(
            subject=Subject(organisation=ORGANISATION, common_name=f"{REGION} Root CA 1"),
            signer=self.keys.generate(KeyRef(REGION, Purpose.ROOT), self.root_suite),
            register=self.root_register,
            clock=self.clock,
            entropy=self.entropy,
            locations=_locations("root"),
        )
        self.licences = self._issuing(Purpose.LICENCE_CA, LICENCE_CA)
        self.status = self._issuing(Purpose.STATUS_CA, STATUS_CA)
        self.tls = self._issuing(Purpose.TLS_CA, TLS_CA)
        self.parallel = create_root(
            subject=Subject(organisation=ORGANISATION, common_name=f"{REGION} Parallel Root CA 1"),
            signer=self.keys.generate(KeyRef(REGION, Purpose.PQ_ROOT), ML_DSA_65),
            register=InMemoryRegister(),
            clock=self.clock,
            entropy=self.entropy,
            profile=PQ_ROOT,
        )
        self.seals = self._issuing(Purpose.SEAL_CA, SEAL_CA)
        self.timestamps = self._issuing(Purpose.TIMESTAMP_CA, TIMESTAMP_CA)
        self.members = self._issuing(Purpose.MEMBER_CA, MEMBER_CA)

    def _issuing(self, purpose: Purpose, profile: Profile) -> CertificateAuthority:
        suite = ES256 if purpose is Purpose.TLS_CA else self.suite
        signer = self.keys.generate(KeyRef(REGION, purpose), suite)
        certificate = self.root.issue(
            profile,
            subject=Subject(organisation=ORGANISATION, common_name=f"{REGION} {purpose} 1"),
            public_key=signer.public_key,
        )
        self.registers[purpose] = InMemoryRegister()
        return CertificateAuthority(
            certificate=certificate,
            signer=signer,
            register=self.registers[purpose],
            clock=self.clock,
            entropy=self.entropy,
            locations=_locations(purpose),
        )

    def locate_licences(self, *, shards: int) -> None:
        """Sort what the licence authority certifies from now on into shards."""
        locations = _locations(Purpose.LICENCE_CA)
        self.licences = CertificateAuthority(
            certificate=self.licences.certificate,
            signer=self.keys.signer(KeyRef(REGION, Purpose.LICENCE_CA)),
            register=self.registers[Purpose.LICENCE_CA],
            clock=self.clock,
            entropy=self.entropy,
            locations=replace(locations, shards=shards),
        )

    def licence_certificate(self) -> bytes:
        """Certify a new licence-signing key of the invented authority."""
        return self.licences.issue(
            LICENCE, subject=AUTHORITY, public_key=self.suite.generate().public_key
        )

    def status_certificate(self) -> bytes:
        """Certify a new status-signing key."""
        return self.status.issue(
            STATUS,
            subject=Subject(organisation=ORGANISATION, common_name="status 1"),
            public_key=self.suite.generate().public_key,
        )

    def server_certificate(self) -> bytes:
        """Certify a new key of a server."""
        return self.tls.issue(
            TLS_SERVER,
            subject=Subject(organisation=ORGANISATION, common_name=DOMAIN),
            public_key=ES256.generate().public_key,
            names=AlternativeNames(dns=(DOMAIN,), addresses=("127.0.0.1", "::1")),
        )

    def client_certificate(self) -> bytes:
        """Certify a new key of a principal."""
        return self.tls.issue(
            TLS_CLIENT,
            subject=Subject(organisation=ORGANISATION, common_name="housing-bureau"),
            public_key=ES256.generate().public_key,
            names=AlternativeNames(uri=principal_uri(DOMAIN, "housing-bureau")),
        )

    def cosigner_certificate(self, origin: str, key: PublicKey) -> bytes:
        """Certify a log's ML-DSA-44 key."""
        return self.parallel.issue(
            COSIGNER,
            subject=Subject(organisation=ORGANISATION, common_name="log cosigner"),
            public_key=key,
            names=AlternativeNames(uri=log_uri(origin)),
        )

    def seal_certificate(self) -> bytes:
        """Certify a new seal of the invented authority."""
        return self.seals.issue(SEAL, subject=AUTHORITY, public_key=ES256.generate().public_key)

    def personal_certificate(self) -> bytes:
        """Certify a new key of an invented person."""
        return self.seals.issue(
            PERSONAL_SIGNATURE,
            subject=Subject(organisation=ORGANISATION, common_name="林某某"),
            public_key=ES256.generate().public_key,
        )

    def timestamp_certificate(self, key: PublicKey | None = None) -> bytes:
        """Certify a key, or a new one, of a time-stamp authority."""
        return self.timestamps.issue(
            TIMESTAMP,
            subject=Subject(organisation=ORGANISATION, common_name="Time-stamping 1"),
            public_key=key or ES256.generate().public_key,
        )

    def department_certificate(self) -> bytes:
        """Certify a new key of a department."""
        return self.members.issue(
            DEPARTMENT, subject=AUTHORITY, public_key=ES256.generate().public_key
        )

    def operator_certificate(self) -> bytes:
        """Certify a new key of an officer."""
        return self.members.issue(
            OPERATOR,
            subject=Subject(organisation=ORGANISATION, common_name="officer-1"),
            public_key=ES256.generate().public_key,
            names=AlternativeNames(uri=principal_uri(DOMAIN, "officer-1")),
        )

    def responder_certificate(
        self, authority: CertificateAuthority, key: PublicKey | None = None
    ) -> bytes:
        """Certify a key, or a new one, that answers for an authority."""
        return authority.issue(
            OCSP_RESPONDER,
            subject=Subject(organisation=ORGANISATION, common_name="OCSP responder 1"),
            public_key=key or ES256.generate().public_key,
        )

    def issuer_of(self, leaf: str) -> CertificateAuthority:
        """Return the authority that certifies a profile."""
        return {
            "licence": self.licences,
            "status": self.status,
            "tls-server": self.tls,
            "tls-client": self.tls,
            "seal": self.seals,
            "personal-signature": self.seals,
            "timestamp": self.timestamps,
            "department": self.members,
            "operator": self.members,
            "ocsp-responder": self.licences,
        }[leaf]

    def leaves(self) -> dict[str, bytes]:
        """Certify one leaf of each profile."""
        return {
            "licence": self.licence_certificate(),
            "status": self.status_certificate(),
            "tls-server": self.server_certificate(),
            "tls-client": self.client_certificate(),
            "seal": self.seal_certificate(),
            "personal-signature": self.personal_certificate(),
            "timestamp": self.timestamp_certificate(),
            "department": self.department_certificate(),
            "operator": self.operator_certificate(),
            "ocsp-responder": self.responder_certificate(self.licences),
        }


def _locations(name: str) -> Locations:
    return Locations(
        crl=f"http://{DOMAIN}/crl/{name}.crl",
        certificate=f"http://{DOMAIN}/ca/{name}.cer",
        ocsp=f"http://{DOMAIN}/ocsp",
    )
