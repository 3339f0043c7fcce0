"""Issue and change requests about invented people; see ``document`` for one."""

from __future__ import annotations

from yinxin_proto.checkdigit import citizen_id_check, credit_code_check
from yinxin_proto.strict import Json, b64url_encode

AUTHORITY = "113503000035501" + "2A"
AUTHORITY += credit_code_check(AUTHORITY)
"""Credit code of an invented authority."""
OTHER_AUTHORITY = "113503000035501" + "2B"
OTHER_AUTHORITY += credit_code_check(OTHER_AUTHORITY)
LICENCE_TYPE = AUTHORITY + "001"
REGION = "350300"


def citizen(sequence: int) -> str:
    """An ID number that checks and that nobody can have: born in 1885."""
    body = f"35030218850315{sequence:03}"
    return body + citizen_id_check(body)


NUMBER = citizen(1)
NAME = "虚构甲"


def document(**changes: Json) -> dict[str, Json]:
    """The members of an acceptable issue request, some of them changed."""
    return {
        "schema": 1,
        "region": REGION,
        "type": LICENCE_TYPE,
        "type_version": 1,
        "issuer": AUTHORITY,
        "number": "JY13503020000001",
        "issued_on": "2026-01-01",
        "valid_from": "2026-01-01",
        "valid_until": "2030-12-31",
        "holders": [{"name": NAME, "number": NUMBER, "number_type": "111"}],
        "fields": {"KZ_JYCS": "莆田市虚构路 1 号", "KZ_JYXM": "预包装食品\n散装食品"},
        "holder_key": None,
        "nonce": b64url_encode(bytes(range(32))),
        **changes,
    }


def change_document(**changes: Json) -> dict[str, Json]:
    """The members of an acceptable change request, some of them changed."""
    return {
        "schema": 1,
        "region": REGION,
        "identifier": "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
        "operation": "suspend",
        "reason_code": "PENALTY",
        "reason": "虚构事由",
        "legal_basis": "虚构法第一条",
        "effective_at": 1_767_225_600,
        "nonce": b64url_encode(bytes(range(32))),
        **changes,
    }
