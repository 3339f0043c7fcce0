"""Licensed authorities outside the region, and what they issued for its keys.

An officer pins one by its root's fingerprint. The region's own root then
certifies the outside authority's issuing key a second time, for licences
alone: so verifiers, who know one root, find a path, and nobody who has the
trust role's keys but not the root's can bring an authority in. One that is
closed certifies nothing new here; what it certified stands as long as the
trust list names the keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, select, update

from yinxin_ca.envelope import Opener, parse_envelope
from yinxin_ca.externalca import ExternalAuthority, Use, check_pair
from yinxin_ca.keystore import KeyAdopter, KeyRef, Purpose
from yinxin_ca.profile import CROSS_LICENCE_CA, Profile
from yinxin_ca.request import make_request
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import Certificate, CertificatePurpose, parse
from yinxin_proto.certificaterequest import parse_request
from yinxin_proto.crl import parse_crl
from yinxin_proto.error import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    KeyStoreError,
    NotFoundError,
    VerificationError,
)
from yinxin_proto.jose import encode_x5c
from yinxin_proto.keyrecord import KeyPurpose
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)
from yinxin_proto.suite import suite_of
from yinxin_trust import schema
from yinxin_trust.certification import (
    ROOT,
    external_list,
    get_crl,
    open_authority,
    put_crls,
    put_evidence,
)
from yinxin_trust.directory import touch
from yinxin_trust.registration import Registrar
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import get_setting, put_setting
from yinxin_trust.trustlisting import CROSS_PREFIX, get_anchors

AUTHORITY_PREFIX: Final = "external-ca/"
CLOSED_PREFIX: Final = "closed-external-ca/"
CERTIFICATE_PREFIX: Final = "certificate/"
USES: Final = {Purpose.LICENCE: Use.LICENCE, Purpose.SEAL: Use.SEAL}
"""Keys whose certificates may come from outside."""
ENCRYPTION: Final = {
    Purpose.LICENCE: Purpose.LICENCE_ENCRYPTION,
    Purpose.SEAL: Purpose.SEAL_ENCRYPTION,
}
"""Where the other half of a pair is kept."""
CROSS_PROFILE: Final = replace(CROSS_LICENCE_CA, purposes=(CertificatePurpose.LICENCE_SIGNING,))
"""Of an authority outside: licences alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The encryption half of a pair, as it came."""

    certificate: bytes
    """DER."""
    envelope: bytes
    """The private key, enveloped for the signing key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCertificates:
    """Pins authorities outside, asks them, and installs what they issued."""

    registrar: Registrar

    def pin(self, conn: Connection, authority: ExternalAuthority) -> None:
        """Trust an authority for licences and seals, inside a write transaction.

        Needs the offline keys: who is trusted changes.

        Raises:
            AlreadyExistsError: It is pinned already (``EXTERNAL_CA_EXISTS``).
            VerificationError: It is not valid now.
            FailedPreconditionError: The offline store is not open.
        """
        registrar, issuing = self.registrar, authority.issuing
        authority.check_validity(registrar.clock.now())
        if any(known.issuing.spki == issuing.spki for known in self.pinned(conn)):
            raise AlreadyExistsError(
                "this authority is pinned already", reason="EXTERNAL_CA_EXISTS"
            )
        cross = self._cross(conn, issuing, CROSS_PROFILE)
        members: dict[str, Json] = {
            "chain": [b64url_encode(der) for der in authority.chain],
            "fingerprint": b64url_encode(authority.fingerprint),
        }
        name = issuing.fingerprint.hex()[:32]
        put_setting(conn, f"{AUTHORITY_PREFIX}{name}", canonical_json(members).decode())
        put_setting(conn, f"{CROSS_PREFIX}{name}", cross.hex())
        registrar.publish_trust(conn)

    def cross(self, conn: Connection, certificate: bytes, request: bytes) -> bytes:
        """Certify another region's licence CA under our root, at its own request.

        Needs the offline keys. Nobody is trusted by it here: the certificate is
        for those who pin our root, and whose trust list names that CA.

        Args:
            conn: Reads the anchors.
            certificate: The CA's first certificate, DER.
            request: DER PKCS#10 signed with the CA's key.

        Raises:
            InvalidArgumentError: The request is of another key, or does not
                prove possession (``PROOF_OF_POSSESSION``); and as
                `CertificateAuthority.cross_certify`.
            FailedPreconditionError: The offline store is not open.
        """
        other = parse(certificate)
        suite = suite_of(other.spki)
        asked = parse_request(request)
        if suite is None or asked.spki != other.spki:
            raise InvalidArgumentError(
                "the request is not signed with the key of the certificate",
                reason="PROOF_OF_POSSESSION",
            )
        asked.check_possession(suite)
        return self._cross(conn, other, CROSS_LICENCE_CA)

    def _cross(self, conn: Connection, other: Certificate, profile: Profile) -> bytes:
        registrar, suite = self.registrar, suite_of(other.spki)
        if suite is None:
            raise VerificationError("the authority's key is of no suite", reason="CHAIN_ALGORITHM")
        root = open_authority(
            ROOT,
            anchors=get_anchors(conn),
            keyring=registrar.keyring,
            registers=registrar.registers,
            clock=registrar.clock,
            entropy=registrar.entropy,
        )
        key = suite.load_public(other.spki)
        return root.cross_certify(other.der, profile=profile, public_key=key)

    def pinned(self, conn: Connection) -> tuple[ExternalAuthority, ...]:
        """Return the authorities that are pinned."""
        s = schema.setting.c
        rows = conn.execute(select(s.value).where(s.name.startswith(AUTHORITY_PREFIX)))
        return tuple(_authority(value) for value in rows.scalars())

    def close(self, conn: Connection, fingerprint: bytes) -> None:
        """Take nothing new from an authority any more, inside a write transaction.

        Its revocation lists are still taken: they speak for what it certified.

        Args:
            conn: The transaction.
            fingerprint: SHA-256 of its root.

        Raises:
            NotFoundError: No authority of that root is pinned (``EXTERNAL_CA``).
        """
        s = schema.setting.c
        rows = conn.execute(select(s.name, s.value).where(s.name.startswith(AUTHORITY_PREFIX)))
        found = [row for row in rows if _authority(row.value).fingerprint == fingerprint]
        if not found:
            raise NotFoundError("no authority with that root is pinned", reason="EXTERNAL_CA")
        for row in found:
            put_setting(conn, f"{CLOSED_PREFIX}{row.name.removeprefix(AUTHORITY_PREFIX)}", "1")
        touch(conn)

    def request(self, conn: Connection, ref: KeyRef) -> bytes:
        """Return a DER request for a key of an authority; the key is made if there is none.

        Raises:
            InvalidArgumentError: A key of a purpose that is not certified
                outside (``KEY_PURPOSE``).
            NotFoundError: No such authority (``AUTHORITY``), or no licence key
                of that version (``KEY_NOT_FOUND``).
        """
        store = self.registrar.keyring.online
        if ref.purpose is Purpose.LICENCE_CA:
            # For another root's cross-certificate, whose name is the first one's.
            name = Subject(organisation=self.registrar.keyring.namespace.name)
            return make_request(store.signer(ref), subject=name)
        self._use(ref)
        subject = self._subject(conn, ref)
        if ref.purpose is Purpose.SEAL and ref not in {info.ref for info in store.list()}:
            store.generate(ref, self.registrar.suite)
        return make_request(store.signer(ref), subject=subject)

    def install(
        self, conn: Connection, ref: KeyRef, certificate: bytes, *, pair: Pair | None = None
    ) -> Certificate:
        """Install what an authority outside issued for a key, inside a write transaction.

        Everything is checked before anything is written; the encryption key
        is stored last, so that a refusal leaves nothing behind.

        Args:
            conn: The transaction.
            ref: The key that asked.
            certificate: DER of the end certificate.
            pair: The encryption half, where the authority issues pairs.

        Returns:
            The certificate.

        Raises:
            InvalidArgumentError, VerificationError, MalformedError,
            FailedPreconditionError: As `ExternalAuthority.check_issued`,
                `check_pair` and `parse_envelope`; ``EXTERNAL_CA`` when no
                authority that is pinned issued it; ``ENVELOPE_KEY`` when the
                envelope holds another key than the certificate names.
        """
        use, subject = self._use(ref), self._subject(conn, ref)
        signer, now = self.registrar.keyring.online.signer(ref), self.registrar.clock.now()
        authority = self._issuer(conn, certificate)
        found = authority.check_issued(
            certificate, use=use, subject=subject, spki=signer.public_key.spki, at=now
        )
        touch(conn)
        chain = (found.der, *authority.chain[:-1])
        if use is Use.LICENCE:
            self._put_licence_chain(conn, ref, chain, authority)
        put_setting(conn, f"{CERTIFICATE_PREFIX}{ref}", _chain_text(chain))
        if pair is not None:
            self._install_pair(conn, ref, found, pair, authority)
        return found

    def installed(self, conn: Connection, ref: KeyRef) -> tuple[bytes, ...]:
        """Return the chain installed for a key, leaf first; empty when there is none."""
        text = get_setting(conn, f"{CERTIFICATE_PREFIX}{ref}")
        if text is None:
            return ()
        members = parse_json_object(text.encode(), max_bytes=1 << 17)
        return tuple(b64url_decode(der) for der in members["chain"])

    def put_crl(self, conn: Connection, encoded: bytes) -> None:
        """Take in the revocation list of an authority that is pinned.

        Raises:
            VerificationError: It is no pinned authority's, or does not verify.
            FailedPreconditionError: It is not newer than the one there (``CRL_NUMBER``).
            MalformedError: Not a complete list.
        """
        listed = parse_crl(encoded)
        for authority in self.pinned(conn):
            issuing = authority.issuing
            suite = suite_of(issuing.spki)
            if suite is None or issuing.subject != listed.content.issuer:
                continue
            verified = listed.verify(issuing, suite=suite)
            name = external_list(issuing)
            held = get_crl(conn, name)
            if held is not None and parse_crl(held).content.number >= verified.number:
                raise FailedPreconditionError(
                    "the revocation list is not newer than the one that is here",
                    reason="CRL_NUMBER",
                )
            put_crls(conn, {name: encoded}, self.registrar.clock)
            return
        raise VerificationError(
            "no authority that is pinned here issued this list", reason="CRL_ISSUER"
        )

    def _install_pair(
        self,
        conn: Connection,
        ref: KeyRef,
        signing: Certificate,
        pair: Pair,
        authority: ExternalAuthority,
    ) -> None:
        store = self.registrar.keyring.online
        opener = store.signer(ref)
        if not isinstance(store, KeyAdopter) or not isinstance(opener, Opener):
            raise KeyStoreError(
                f"key {ref} is in hardware, which opens envelopes itself; import the encryption "
                "key with the device's own tool",
                reason="KEY_DECRYPT",
            )
        envelope = parse_envelope(pair.envelope)
        encryption = authority.check_issued(
            pair.certificate,
            use=Use.ENCRYPTION,
            subject=self._subject(conn, ref),
            spki=envelope.spki,
            at=self.registrar.clock.now(),
        )
        check_pair(signing, encryption)
        private = envelope.open(opener)
        other = KeyRef(ref.owner, ENCRYPTION[ref.purpose], ref.version)
        chain = (encryption.der, *authority.chain[:-1])
        put_setting(conn, f"{CERTIFICATE_PREFIX}{other}", _chain_text(chain))
        held = {info.ref: info.spki for info in store.list()}
        if held.get(other) == envelope.spki:
            # A call that was interrupted after the key was stored.
            return
        store.adopt(other, private)

    def _put_licence_chain(
        self,
        conn: Connection,
        ref: KeyRef,
        chain: tuple[bytes, ...],
        authority: ExternalAuthority,
    ) -> None:
        k = schema.authority_key
        now_ms = milliseconds(self.registrar.clock.now())
        crl = get_crl(conn, external_list(authority.issuing)) or b""
        evidence = put_evidence(conn, chain, crl, now_ms)
        changed = conn.execute(
            update(k)
            .where(
                k.c.authority_code == ref.owner,
                k.c.purpose == KeyPurpose.LICENCE.value,
                k.c.version == ref.version,
            )
            .values(x5c=canonical_json(list(encode_x5c(chain))).decode(), evidence_hash=evidence)
        ).rowcount
        if not changed:
            raise NotFoundError(
                f"the region's records have no key {ref}; add the authority first",
                reason="KEY_NOT_FOUND",
            )

    def _issuer(self, conn: Connection, certificate: bytes) -> ExternalAuthority:
        issuer = parse(certificate).issuer
        for authority in self.pinned(conn):
            name = authority.issuing.fingerprint.hex()[:32]
            is_closed = get_setting(conn, f"{CLOSED_PREFIX}{name}") is not None
            if authority.issuing.subject == issuer and not is_closed:
                return authority
        raise InvalidArgumentError(
            "no authority that is pinned here issued the certificate; pin it first with: "
            "yinxin certificate pin",
            reason="EXTERNAL_CA",
        )

    def _use(self, ref: KeyRef) -> Use:
        use = USES.get(ref.purpose)
        if use is None:
            raise InvalidArgumentError(
                f"keys for {', '.join(USES)} alone are certified outside", reason="KEY_PURPOSE"
            )
        return use

    def _subject(self, conn: Connection, ref: KeyRef) -> Subject:
        a = schema.authority.c
        name = conn.execute(select(a.name).where(a.code == ref.owner)).scalar_one_or_none()
        if name is None:
            raise NotFoundError("no such authority in this region", reason="AUTHORITY")
        return Subject(organisation=name, organisation_code=ref.owner)


def _authority(text: str) -> ExternalAuthority:
    members = parse_json_object(text.encode(), max_bytes=1 << 17)
    return ExternalAuthority(
        chain=tuple(b64url_decode(der) for der in members["chain"]),
        fingerprint=b64url_decode(members["fingerprint"]),
    )


def _chain_text(chain: tuple[bytes, ...]) -> str:
    return canonical_json({"chain": [b64url_encode(der) for der in chain]}).decode()
