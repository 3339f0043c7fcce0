"""What the calls about principals' certificates carry, read and put into messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from yinxin_proto.certificate import parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.v1.administration_pb2 import (
    CertificateRevocationReason as ReasonMessage,
)
from yinxin_proto.v1.administration_pb2 import RenewCertificateResponse
from yinxin_trust.service.form import Field, Form
from yinxin_trust.service.timestamp import of

_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}")
_REASONS: Final[dict[int, RevocationReason]] = {
    ReasonMessage.Value(f"CERTIFICATE_REVOCATION_REASON_{reason.name}"): reason
    for reason in (
        RevocationReason.KEY_COMPROMISE,
        RevocationReason.AFFILIATION_CHANGED,
        RevocationReason.SUPERSEDED,
        RevocationReason.CESSATION_OF_OPERATION,
    )
}


def read_reason(form: Form, number: int) -> Field[RevocationReason]:
    """Read why a certificate is revoked, noting one that there is not."""
    found = _REASONS.get(number)
    if found is None:
        form.refuse("reason", "a reason is expected", "REVOCATION_REASON")
        return Field()
    return Field(found)


def read_serial(form: Form, text: str) -> Field[int | None]:
    """Read a serial number; empty for every certificate that is in force."""
    if not text:
        return Field(None)
    if _SERIAL.fullmatch(text) is None:
        form.refuse("serial_number", "at most 40 hexadecimal digits in lower case", "SERIAL")
        return Field()
    return Field(int(text, 16))


def renewal_message(chain: Sequence[bytes]) -> RenewCertificateResponse:
    """Return a new chain, leaf first, as the answer."""
    return RenewCertificateResponse(
        certificate_chain=chain, expire_time=of(parse(chain[0]).not_after)
    )
