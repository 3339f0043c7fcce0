from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import EPOCH, FixedClock, SeededEntropy
from support.forge import HOLDER_KEY, ISSUER_KEY, STRANGER_KEY
from support.requests import (
    AUTHORITY,
    LICENCE_TYPE,
    NAME,
    NUMBER,
    OTHER_AUTHORITY,
    REGION,
    change_document,
    citizen,
    document,
)
from yinxin_proto.approval import (
    ISSUE,
    MAX_BATCH,
    ChangeRequest,
    IssueRequest,
    approval_digest,
    approve,
    parse_approval,
    request_digest,
)
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError, YinxinError
from yinxin_proto.jose import sign_compact
from yinxin_proto.merkle import leaf_hash
from yinxin_proto.number import IdentifierType
from yinxin_proto.strict import Json, b64url_encode, canonical_json
from yinxin_proto.suite import ES256

KEY = ISSUER_KEY.public_key
JWK = ES256.public_to_jwk(HOLDER_KEY.public_key)


def violations(found: Json) -> dict[str, str]:
    """Reason by field of every fault that a request has."""
    with pytest.raises(InvalidArgumentError) as caught:
        IssueRequest.from_document(found)
    assert caught.value.reason == "REQUEST"
    assert NUMBER not in str(caught.value)
    assert NAME not in str(caught.value)
    return {one.field: one.reason for one in caught.value.violations}


def holder(**changes: Json) -> dict[str, Json]:
    return {"name": NAME, "number": NUMBER, "number_type": "111", **changes}


def request(sequence: int = 1) -> bytes:
    return IssueRequest.from_document(
        document(holders=[holder(number=citizen(sequence))])
    ).to_bytes()


def approved(requests: list[bytes], operation: str = ISSUE) -> str:
    return approve(
        requests,
        signer=ISSUER_KEY,
        authority=AUTHORITY,
        region=REGION,
        clock=FixedClock(),
        entropy=SeededEntropy(1),
        operation=operation,
    )


# --- issue requests ------------------------------------------------------------


def test_a_request_is_read_as_it_was_written() -> None:
    made = IssueRequest.from_document(document(holder_key=JWK))
    assert IssueRequest.parse(made.to_bytes()) == made
    assert made.to_bytes() == canonical_json(document(holder_key=JWK))
    assert made.digest == request_digest(made.to_bytes())
    assert (made.type, made.issuer, made.type_version) == (LICENCE_TYPE, AUTHORITY, 1)
    assert (made.valid_from, made.valid_until) == (date(2026, 1, 1), date(2030, 12, 31))
    assert made.holders[0].number.type is IdentifierType.CITIZEN_ID
    assert made.holders[0].number.reveal() == NUMBER
    assert made.holder_key == JWK
    assert made.nonce == bytes(range(32))


def test_a_licence_may_be_open_ended() -> None:
    assert IssueRequest.from_document(document(valid_until=None)).valid_until is None


def test_a_client_may_type_numbers_as_it_likes_but_sends_them_normalised() -> None:
    typed = holder(number=f" {NUMBER[:6]}-{NUMBER[6:14]}-{NUMBER[14:].lower()} ")
    made = IssueRequest.from_document(document(holders=[typed]))
    assert made.holders[0].number.reveal() == NUMBER
    with pytest.raises(InvalidArgumentError) as caught:
        IssueRequest.parse(canonical_json(document(holders=[typed])))
    assert caught.value.violations[0].reason == "NUMBER_NOT_NORMALISED"


def test_a_request_that_is_not_canonical_is_refused() -> None:
    data = IssueRequest.from_document(document()).to_bytes()
    with pytest.raises(MalformedError) as caught:
        IssueRequest.parse(data.replace(b",", b", ", 1))
    assert caught.value.reason == "JSON_NOT_CANONICAL"


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{", b"null", b'{"a":1,"a":1}'])
def test_what_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        IssueRequest.parse(data)
    with pytest.raises(MalformedError):
        ChangeRequest.parse(data)


def test_a_request_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedError) as caught:
        IssueRequest.parse(b"[" * (1 << 19))
    assert caught.value.reason == "TOO_LARGE"


def test_every_fault_is_named_at_once() -> None:
    broken = document(
        schema=2,
        region="999999",
        type="short",
        type_version=0,
        issuer="11350300003550123X",
        number=" ",
        issued_on="2026-02-30",
        valid_from="20260101",
        valid_until=5,
        holders=[holder(number=NUMBER[:-1] + "?"), holder(name="", number_type="?"), 1],
        fields={"KZ_A": 1, "other": "x", "KZ_B": "x" * 4097},
        holder_key={"kty": "EC"},
        nonce="AA",
        extra=1,
    )
    assert violations(broken) == {
        "": "FIELD_UNKNOWN",
        "schema": "FIELD_VALUE",
        "region": "REGION_CODE",
        "type": "IDENTIFIER_TYPE",
        "type_version": "FIELD_RANGE",
        "issuer": "IDENTIFIER_ISSUER",
        "number": "FIELD_LENGTH",
        "issued_on": "FIELD_DATE",
        "valid_from": "FIELD_DATE",
        "valid_until": "FIELD_TYPE",
        "holders[0].number": "NUMBER_CHARACTER",
        "holders[1].name": "FIELD_LENGTH",
        "holders[1].number_type": "NUMBER_TYPE",
        "holders[2]": "FIELD_TYPE",
        "fields": "FIELD_NAME",
        "fields.KZ_A": "FIELD_TYPE",
        "fields.KZ_B": "FIELD_LENGTH",
        "holder_key": "KEY",
        "nonce": "FIELD_VALUE",
    }


def test_every_missing_member_is_named_at_once() -> None:
    assert set(violations({}).values()) == {"FIELD_MISSING"}
    assert violations({}).keys() == document().keys()


@pytest.mark.parametrize(
    "name", ["虚构人\u3000甲", "虚\ue000人", "虚\U000323b0人", "葛\U000e0100"], ids=ascii
)
def test_names_are_written_with_whatever_characters_names_have(name: str) -> None:
    # A wide blank, a private character, one newer than any table, a variant form.
    made = IssueRequest.from_document(document(holders=[holder(name=name)]))
    assert IssueRequest.parse(made.to_bytes()) == made


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"valid_until": "2025-12-31"}, "valid_until", "DATES_REVERSED"),
        ({"holders": [holder(number=NUMBER[:-1] + "A")]}, "holders[0].number", "NUMBER_CHARACTER"),
        ({"holders": [holder(), holder()]}, "holders", "HOLDER_TWICE"),
        ({"holders": []}, "holders", "FIELD_COUNT"),
        ({"holders": [holder(number=citizen(n)) for n in range(17)]}, "holders", "FIELD_COUNT"),
        ({"holders": [holder(extra=1)]}, "holders[0]", "FIELD_UNKNOWN"),
        ({"holders": [holder(name="a\nb")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="a\u202eb")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="a\u061cb")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="a\u00adb")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="a\u2060b")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="a\U000e0041b")]}, "holders[0].name", "FIELD_CHARACTER"),
        ({"holders": [holder(name="x" * 201)]}, "holders[0].name", "FIELD_LENGTH"),
        ({"number": "x" * 65}, "number", "FIELD_LENGTH"),
        ({"number": "a\x00"}, "number", "FIELD_CHARACTER"),
        ({"fields": {f"KZ_{n}": "x" for n in range(65)}}, "fields", "FIELD_COUNT"),
        ({"fields": {"KZ_A": "a\x1b[2J"}}, "fields.KZ_A", "FIELD_CHARACTER"),
        ({"fields": {"KZ_A": ""}}, "fields.KZ_A", "FIELD_LENGTH"),
        ({"fields": {"KZ_": "x"}}, "fields", "FIELD_NAME"),
        ({"fields": {"ZZBH": "x"}}, "fields", "FIELD_NAME"),
        ({"fields": {"_sd": "x"}}, "fields", "FIELD_NAME"),
        ({"fields": []}, "fields", "FIELD_TYPE"),
        ({"holder_key": {**JWK, "d": "AA"}}, "holder_key", "KEY"),
        ({"holder_key": {**JWK, "x": JWK["y"]}}, "holder_key", "KEY"),
        ({"holder_key": 1}, "holder_key", "FIELD_TYPE"),
        ({"nonce": "A" * 43 + "="}, "nonce", "FIELD_VALUE"),
        ({"schema": True}, "schema", "FIELD_VALUE"),
        ({"type_version": True}, "type_version", "FIELD_TYPE"),
        ({"valid_from": "2026-W01-1"}, "valid_from", "FIELD_DATE"),
        ({"issued_on": None}, "issued_on", "FIELD_TYPE"),
    ],
)
def test_one_fault_is_named_by_its_field(change: dict[str, Json], field: str, reason: str) -> None:
    assert violations(document(**change)) == {field: reason}


def test_a_number_that_does_not_check_is_refused() -> None:
    wrong = next(last for last in "0123456789X" if last != NUMBER[-1])
    found = violations(document(holders=[holder(number=NUMBER[:-1] + wrong)]))
    assert found == {"holders[0].number": "NUMBER_CHECKSUM"}


def test_a_number_where_a_field_name_belongs_is_not_repeated() -> None:
    assert violations(document(fields={NUMBER: "x"})) == {"fields": "FIELD_NAME"}
    assert violations(document(**{NUMBER: "x"})) == {"": "FIELD_UNKNOWN"}


def test_bounds_are_inclusive() -> None:
    IssueRequest.from_document(
        document(
            number="x" * 64,
            holders=[holder(number=citizen(n), name="x" * 200) for n in range(16)],
            fields={f"KZ_{n}": "证" * 4096 for n in range(16)},
            valid_until="2026-01-01",
        )
    )


def test_nothing_of_the_subject_shows_when_a_request_is_printed() -> None:
    made = IssueRequest.from_document(document())
    printed = repr(made) + repr(made.holders)
    assert NUMBER not in printed
    assert NAME not in printed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(document())), json_values)
def test_any_member_value_is_read_or_refused_by_a_typed_error(name: str, value: Json) -> None:
    for kind, found in ((IssueRequest, document()), (ChangeRequest, change_document())):
        try:
            made = kind.from_document({**found, name: value})
        except YinxinError:
            continue
        assert kind.parse(made.to_bytes()) == made


# --- change requests -------------------------------------------------------------


def test_a_change_is_read_as_it_was_written() -> None:
    made = ChangeRequest.from_document(change_document())
    assert ChangeRequest.parse(made.to_bytes()) == made
    assert made.to_bytes() == canonical_json(change_document())
    assert made.operation == "suspend"
    assert made.effective_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert made.digest == request_digest(made.to_bytes())


def test_every_fault_of_a_change_is_named_at_once() -> None:
    broken = dict.fromkeys(change_document(), "") | {"schema": 9, "effective_at": 1 << 50}
    with pytest.raises(InvalidArgumentError) as caught:
        ChangeRequest.from_document(broken)
    assert {one.field for one in caught.value.violations} == broken.keys()


def test_a_change_of_an_identifier_that_does_not_check_is_refused() -> None:
    wrong = change_document()["identifier"][:-1] + "A"
    with pytest.raises(InvalidArgumentError) as caught:
        ChangeRequest.from_document(change_document(identifier=wrong))
    assert caught.value.violations[0].reason == "IDENTIFIER_CHECK"


def test_neither_kind_of_request_passes_for_the_other() -> None:
    with pytest.raises(InvalidArgumentError):
        IssueRequest.parse(canonical_json(change_document()))
    with pytest.raises(InvalidArgumentError):
        ChangeRequest.parse(canonical_json(document()))


# --- approvals -------------------------------------------------------------------


def test_an_approval_holds_for_its_requests() -> None:
    requests = [request(n) for n in range(5)]
    token = approved(requests)
    approval = parse_approval(token).verify(KEY, [request_digest(one) for one in requests])
    assert (approval.authority, approval.region) == (AUTHORITY, REGION)
    assert (approval.operation, approval.count) == (ISSUE, 5)
    assert approval.issued_at == EPOCH
    assert approval.digest == approval_digest(token)
    assert parse_approval(token.encode()).claimed == approval


def test_a_single_request_is_a_batch_of_one() -> None:
    data = request()
    approval = parse_approval(approved([data])).verify(KEY, [request_digest(data)])
    assert approval.root == leaf_hash(request_digest(data))


def test_equal_batches_are_approved_apart() -> None:
    entropy = SeededEntropy(1)
    first, second = (
        approve(
            [request()],
            signer=ISSUER_KEY,
            authority=AUTHORITY,
            region=REGION,
            clock=FixedClock(),
            entropy=entropy,
        )
        for _ in range(2)
    )
    assert approval_digest(first) != approval_digest(second)


def test_another_request_is_not_approved() -> None:
    with pytest.raises(VerificationError) as caught:
        parse_approval(approved([request(1)])).verify(KEY, [request_digest(request(2))])
    assert caught.value.reason == "APPROVAL_ROOT"


def test_another_order_is_not_approved() -> None:
    digests = [request_digest(request(n)) for n in range(3)]
    with pytest.raises(VerificationError) as caught:
        parse_approval(approved([request(n) for n in range(3)])).verify(KEY, digests[::-1])
    assert caught.value.reason == "APPROVAL_ROOT"


@pytest.mark.parametrize("shown", [0, 1, 2, 4])
def test_part_of_a_batch_is_not_approved(shown: int) -> None:
    digests = [request_digest(request(n)) for n in range(shown)]
    with pytest.raises(VerificationError) as caught:
        parse_approval(approved([request(n) for n in range(3)])).verify(KEY, digests)
    assert caught.value.reason == "APPROVAL_COUNT"


def test_one_request_of_a_batch_is_shown_by_its_path() -> None:
    digests = [request_digest(request(n)) for n in range(2)]
    approval = parse_approval(approved([request(0), request(1)])).verify_signature(KEY)
    approval.check_request(digests[0], 0, [leaf_hash(digests[1])])
    approval.check_request(digests[1], 1, [leaf_hash(digests[0])])
    with pytest.raises(VerificationError):
        approval.check_request(digests[0], 1, [leaf_hash(digests[1])])


def test_an_approval_by_another_key_is_refused() -> None:
    data = request()
    with pytest.raises(VerificationError) as caught:
        parse_approval(approved([data])).verify(STRANGER_KEY.public_key, [request_digest(data)])
    assert caught.value.reason == "SIGNATURE"


def forged(typ: str = "yinxin-approval+jwt", **changes: Json) -> str:
    claims = {
        "count": 1,
        "iat": 1,
        "iss": AUTHORITY,
        "nonce": b64url_encode(bytes(32)),
        "operation": ISSUE,
        "region": REGION,
        "root": b64url_encode(leaf_hash(request_digest(request()))),
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign_compact(ISSUER_KEY, typ=typ, payload=canonical_json(kept))


@pytest.mark.parametrize("typ", ["JWT", "dc+sd-jwt", "kb+jwt"])
def test_a_signature_for_another_purpose_approves_nothing(typ: str) -> None:
    with pytest.raises(VerificationError) as caught:
        parse_approval(forged(typ)).verify(KEY, [request_digest(request())])
    assert caught.value.reason == "TYP"


@pytest.mark.parametrize("name", ["count", "iat", "iss", "nonce", "operation", "region", "root"])
@pytest.mark.parametrize("value", [None, True, -1, "?", "x" * 99, [], {}, 1.5e300])
def test_an_approval_of_another_form_is_refused(name: str, value: Json) -> None:
    parse_approval(forged())
    with pytest.raises(MalformedError):
        parse_approval(forged(**{name: value}))


@pytest.mark.parametrize(
    "change", [{"more": 1}, {"iss": AUTHORITY[:-1] + "?"}, {"count": MAX_BATCH + 1}, {"count": 0}]
)
def test_an_approval_with_unknown_or_unbounded_members_is_refused(change: dict[str, Json]) -> None:
    with pytest.raises(MalformedError):
        parse_approval(forged(**change))


def test_an_approval_that_is_not_canonical_is_refused() -> None:
    claims = b'{"count": 1}'
    token = sign_compact(ISSUER_KEY, typ="yinxin-approval+jwt", payload=claims)
    with pytest.raises(MalformedError) as caught:
        parse_approval(token)
    assert caught.value.reason == "JSON_NOT_CANONICAL"


@pytest.mark.parametrize(
    "change",
    [
        {"requests": []},
        {"requests": [b"x"] * (MAX_BATCH + 1)},
        {"authority": "x"},
        {"region": "x"},
        {"operation": ""},
    ],
)
def test_what_cannot_be_approved_is_not_signed(change: dict[str, Json]) -> None:
    arguments: dict[str, Json] = {
        "requests": [b"x"],
        "authority": OTHER_AUTHORITY,
        "region": REGION,
        "operation": "suspend",
        **change,
    }
    with pytest.raises(InvalidArgumentError):
        approve(
            arguments.pop("requests"),
            signer=ISSUER_KEY,
            clock=FixedClock(EPOCH + timedelta(days=1)),
            entropy=SeededEntropy(1),
            **arguments,
        )


def test_a_change_is_approved_under_its_operation() -> None:
    data = canonical_json(change_document())
    approval = parse_approval(approved([data], "suspend")).verify(KEY, [request_digest(data)])
    assert approval.operation == "suspend"


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_as_approval_by_a_typed_error(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_approval(data)
