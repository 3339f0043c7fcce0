"""The parallel ML-DSA root, and the logs' cosigners that it certifies.

Its chain has one link, and is judged by no date: what a log's key signed is
bounded by the sizes that the trust list states, and has to hold for as long as
anybody keeps a licence.
"""

from __future__ import annotations

from yinxin_proto import certificate
from yinxin_proto.certificate import Certificate, CertificatePurpose, verify_link
from yinxin_proto.error import VerificationError
from yinxin_proto.logkey import LogCosigner, LogKey, log_uri
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.suite import ML_DSA_65
from yinxin_proto.trustlist import TrustList
from yinxin_proto.vkey import VerifierKey


def check_cosigners(trust_list: TrustList, *, pinned: bytes | None = None) -> None:
    """Check that the parallel root certifies every cosigner for its own log.

    Args:
        trust_list: As the offline roles signed it.
        pinned: The parallel root's certificate, DER, that the verifier got by
            another way; a renewed one of the same key does as well.

    Raises:
        MalformedError: A certificate that is none, or of a key of another kind.
        VerificationError: ``PQ_ROOT_PINNED`` when the list names another root
            than the pinned one, or none; ``COSIGNER_KEY`` or ``COSIGNER_NAME``
            for a certificate of another key or log; ``CERTIFICATE_PURPOSE``;
            what `verify_link` raises.
    """
    anchor = trust_list.anchors.pq_root
    root = None if anchor is None else certificate.parse(anchor)
    if pinned is not None and (
        root is None or certificate.parse(pinned).thumbprint != root.thumbprint
    ):
        raise VerificationError(
            "trust list: its parallel root is not the one that was pinned",
            reason="PQ_ROOT_PINNED",
        )
    if root is None:
        return
    verify_link(root, root, ML_DSA_65)
    for log in trust_list.logs:
        if log.cosigner is not None:
            _check_cosigner(log, log.cosigner, root)


def _check_cosigner(log: LogKey, cosigner: LogCosigner, root: Certificate) -> None:
    leaf = certificate.parse(cosigner.certificate)
    leaf.check_purpose(CertificatePurpose.CHECKPOINT_SIGNING)
    verify_link(leaf, root, ML_DSA_65)
    certified = ML_DSA_44.load_public(leaf.spki)
    if ML_DSA_44.raw_public(certified) != VerifierKey.parse(cosigner.vkey).public_key:
        raise VerificationError(
            "trust list: a cosigner's certificate holds another key", reason="COSIGNER_KEY"
        )
    if leaf.uris != (log_uri(log.origin),):
        raise VerificationError(
            "trust list: a cosigner's certificate is of another log", reason="COSIGNER_NAME"
        )
