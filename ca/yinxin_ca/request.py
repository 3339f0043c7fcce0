"""Making PKCS#10 requests for keys that a store holds, whatever suite they are of.

As with certificates (`yinxin_ca.assembly`), the library encodes under a
throw-away key; then what that key left in the bytes is replaced, and the key
itself signs.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AttributeOID

from yinxin_ca import der
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.der import elements
from yinxin_proto.signature import Signer

_NO_NAMES: Final = AlternativeNames()


def make_request(
    signer: Signer,
    *,
    subject: Subject,
    names: AlternativeNames = _NO_NAMES,
    challenge: bytes | None = None,
) -> bytes:
    """Return a DER request for a key, signed by it.

    Args:
        signer: The key.
        subject: Whom the certificate is asked for.
        names: Alternative names asked for.
        challenge: Binds the request to an enrolment that was agreed before.
    """
    throw_away = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject.to_name())
    if listed := names.to_general_names():
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    fields = elements(builder.sign(throw_away, hashes.SHA256()).tbs_certrequest_bytes)
    key = signer.public_key
    fields[2] = key.spki
    info = der.sequence(*fields)
    signature = signer.sign(info)
    # A faulty device or the wrong key is known here, and not from the answer.
    key.verify(signature, info)
    return der.signed(info, key.suite.x509_signature_oid(), key.suite.to_x509_signature(signature))


def request_pem(request: bytes) -> bytes:
    """Return a DER request as PEM (RFC 7468 §7)."""
    text = base64.b64encode(request)
    lines = (text[start : start + 64] for start in range(0, len(text), 64))
    begin, end = b"-----BEGIN CERTIFICATE REQUEST-----", b"-----END CERTIFICATE REQUEST-----"
    return b"\n".join((begin, *lines, end, b""))
