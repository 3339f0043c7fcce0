"""By what a repeated request is recognised: everything in it but the nonce."""

from __future__ import annotations

import pytest

from support.requests import document
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.strict import Json, b64url_encode
from yinxin_trust.intake import body_hash

OTHER_NONCE = b64url_encode(bytes(range(1, 33)))


def request(**changes: Json) -> bytes:
    return IssueRequest.from_document(document(**changes)).to_bytes()


def test_a_request_built_anew_is_the_same_request() -> None:
    assert body_hash([request()]) == body_hash([request(nonce=OTHER_NONCE)])


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "JY13503020000002"},
        {"valid_until": None},
        {"fields": {"KZ_JYXM": f'"nonce":"{OTHER_NONCE}"'}},
    ],
)
def test_another_body_is_another_request(changes: dict[str, Json]) -> None:
    assert body_hash([request()]) != body_hash([request(**changes)])


def test_a_text_that_looks_like_a_nonce_is_part_of_the_body() -> None:
    one, other = (
        request(fields={"KZ_JYXM": f'"nonce":"{text}"'}) for text in (OTHER_NONCE, "somethingelse")
    )
    assert body_hash([one]) != body_hash([other])


def test_the_number_and_order_of_requests_count() -> None:
    one, other = request(), request(number="JY13503020000002")
    hashes = {body_hash(batch) for batch in ([one], [one, one], [one, other], [other, one])}
    assert len(hashes) == 4


@pytest.mark.parametrize("data", [b"", b'"nonce":"', b'{"nonce":"x', b"\xff"])
def test_bytes_that_are_no_request_are_hashed_too(data: bytes) -> None:
    assert len(body_hash([data])) == 32
