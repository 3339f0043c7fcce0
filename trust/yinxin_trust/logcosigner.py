"""The second signature on a log's checkpoints, which outlives Ed25519.

Each epoch of a log has an ML-DSA-44 key beside its Ed25519 one, certified by
the region's parallel ML-DSA-65 root. The certificate is kept with the epoch's
key: they are published, succeeded and destroyed together. The parallel root is
in the offline store, certifies nothing else, and publishes no revocation list:
what a log's keys are worth is the trust list's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.profile import COSIGNER, PQ_ROOT
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.cosignature import CosignatureSigner
from yinxin_proto.error import AlreadyExistsError, ConfigurationError, KeyStoreError, NotFoundError
from yinxin_proto.logkey import LogCosigner, log_uri
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.note import LineSigner
from yinxin_proto.vkey import SignatureType, VerifierKey
from yinxin_trust import schema
from yinxin_trust.keyinventory import get, known
from yinxin_trust.keyring import Keyring
from yinxin_trust.storage import put_setting

if TYPE_CHECKING:
    from yinxin_trust.certification import RegisterFactory

REGISTER: Final = "pq-root"
"""Name of the parallel root's register."""
_BROKEN: Final = "log-key-broken/"


def found_parallel_root(
    keyring: Keyring, registers: RegisterFactory, clock: Clock, entropy: Entropy
) -> CertificateAuthority:
    """Make the parallel root of a new region; its key is in the offline store."""
    return create_root(
        subject=Subject(organisation=keyring.namespace.name, common_name="Parallel Root CA"),
        signer=keyring.signer(Purpose.PQ_ROOT),
        register=registers(REGISTER),
        clock=clock,
        entropy=entropy,
        profile=PQ_ROOT,
    )


def open_parallel_root(
    conn: Connection,
    keyring: Keyring,
    registers: RegisterFactory,
    clock: Clock,
    entropy: Entropy,
) -> CertificateAuthority:
    """Open the parallel root, to certify the cosigner of another epoch.

    Raises:
        FailedPreconditionError: The offline store is not open (``OFFLINE_KEYS``).
        NotFoundError: The region has none (``PQ_ROOT``).
    """
    certificate = parallel_root(conn)
    if certificate is None:
        raise NotFoundError("the region was founded without a parallel root", reason="PQ_ROOT")
    _, signer = keyring.signer_of(Purpose.PQ_ROOT, parse(certificate).spki)
    return CertificateAuthority(
        certificate=certificate,
        signer=signer,
        register=registers(REGISTER),
        clock=clock,
        entropy=entropy,
    )


def parallel_root(conn: Connection) -> bytes | None:
    """Return the certificate of the parallel root, DER, if the region has one."""
    chains = [key.chain for key in known(conn, Purpose.PQ_ROOT) if key.chain]
    return chains[-1][0] if chains else None


def cosigner_ref(log: KeyRef) -> KeyRef:
    """Return the name of the key that cosigns beside a log's own."""
    return KeyRef(log.owner, Purpose.LOG_COSIGNER, log.version)


def generate_cosigner(keyring: Keyring, log: KeyRef) -> None:
    """Make the cosigner's key of an epoch; one that is there already stays."""
    try:
        keyring.online.generate(cosigner_ref(log), ML_DSA_44)
    except AlreadyExistsError:
        # Whoever made it was interrupted before anything rested on it.
        return


def destroy_cosigner(keyring: Keyring, log: KeyRef) -> None:
    """Forget the cosigner's key of an epoch for good."""
    try:
        keyring.online.destroy(cosigner_ref(log))
    except KeyStoreError as error:
        if error.reason != "KEY_NOT_FOUND":
            raise


def certify_cosigner(
    root: CertificateAuthority, keyring: Keyring, log: KeyRef, origin: str
) -> bytes:
    """Certify the cosigner's key of an epoch for its checkpoints alone.

    Args:
        root: The parallel root.
        keyring: Has the key.
        log: The epoch's own key.
        origin: The epoch's origin.

    Returns:
        The DER certificate, for the chain of the log key's record.
    """
    return root.issue(
        COSIGNER,
        subject=Subject(organisation=keyring.namespace.name, common_name="Log cosigner"),
        public_key=keyring.online.signer(cosigner_ref(log)).public_key,
        names=AlternativeNames(uri=log_uri(origin)),
    )


def cosigner_of(origin: str, certificate: bytes) -> LogCosigner:
    """Return what the trust list says of a cosigner that was certified."""
    raw = ML_DSA_44.raw_public(ML_DSA_44.load_public(parse(certificate).spki))
    vkey = VerifierKey(origin, SignatureType.ML_DSA_44_COSIGNATURE, raw)
    return LogCosigner(vkey=vkey.to_text(), certificate=certificate)


def cosigners(
    conn: Connection, keyring: Keyring, log: KeyRef, origin: str, clock: Clock
) -> tuple[LineSigner, ...]:
    """Return who signs an epoch's checkpoints beside its own key: one, or nobody.

    Raises:
        ConfigurationError: The key store has another key than the record's
            certificate names (``COSIGNER_KEY``): what it signed would be
            refused by everybody.
        KeyStoreError: It has none.
    """
    chain = get(conn, log).chain
    if not chain:
        return ()
    signer = CosignatureSigner(
        name=origin, key=keyring.online.signer(cosigner_ref(log)), clock=clock
    )
    if signer.vkey.to_text() != cosigner_of(origin, chain[0]).vkey:
        raise ConfigurationError(
            f"the key store's {cosigner_ref(log)} is not the key that was certified; open the "
            "store that has it",
            reason="COSIGNER_KEY",
        )
    return (signer,)


def declare_log_key_broken(conn: Connection, origin: str) -> None:
    """Record that a log's Ed25519 key proves nothing any more, inside a write transaction.

    The next trust list says so; it cannot be taken back. From then on
    verifiers count the log's ML-DSA-44 signature alone.

    Raises:
        NotFoundError: No log of that origin has a cosigner (``LOG_COSIGNER``):
            nothing of it could be believed then; freeze it instead.
    """
    logs = known(conn, Purpose.LOG)
    if not any(key.chain and (key.public or b"").split(b"+")[0] == origin.encode() for key in logs):
        raise NotFoundError(
            f"no log {origin} that is cosigned; freeze it at its last good head instead",
            reason="LOG_COSIGNER",
        )
    put_setting(conn, f"{_BROKEN}{origin}", "1")


def broken_logs(conn: Connection) -> frozenset[str]:
    """Return the origins of the logs whose Ed25519 key was declared broken."""
    s = schema.setting.c
    names = conn.execute(select(s.name).where(s.name.startswith(_BROKEN, autoescape=True)))
    return frozenset(name.removeprefix(_BROKEN) for name in names.scalars())
