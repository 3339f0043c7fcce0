from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import EPOCH, SeededEntropy
from support.forge import HOLDER_KEY, ISSUER_KEY
from support.requests import AUTHORITY, LICENCE_TYPE, NAME, NUMBER, citizen, document
from yinxin_proto import identifier, sdjwt
from yinxin_proto.approval import IssueRequest
from yinxin_proto.error import MalformedError, VerificationError, YinxinError
from yinxin_proto.keybinding import confirmation_key
from yinxin_proto.licence import (
    MAX_FILE_BYTES,
    LicenceFile,
    build_claims,
    count_decoys,
    issuer_uri,
    parse_issuer,
    parse_type,
    start_of_day,
)
from yinxin_proto.statuslist import StatusReference
from yinxin_proto.strict import Json, canonical_json, parse_json_object
from yinxin_proto.suite import ES256

IDENTIFIER = identifier.new(type=LICENCE_TYPE, issuer=AUTHORITY, serial="0123456789ABCDEFGHJK")
STATUS = StatusReference("https://licences.example/status/1", 7)
BEIJING = timezone(timedelta(hours=8))
ALWAYS = {
    "iss",
    "vct",
    "yinxin_schema",
    "iat",
    "nbf",
    "exp",
    "ZZBS",
    "ZZMC",
    "ZZBFJG",
    "ZZBFJGDM",
    "ZZYXQQSRQ",
    "ZZYXQJZRQ",
    "status",
}


def issued(decoys: int = 0, **changes: Json) -> sdjwt.SdJwt:
    request = IssueRequest.from_document(document(**changes))
    claims = build_claims(
        request,
        identifier=IDENTIFIER,
        status=STATUS,
        domain="licences.example",
        type_name="食品经营许可证",
        authority_name="莆田市虚构局",
        issued_at=EPOCH,
    )
    made = sdjwt.issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1), decoys=decoys)
    return sdjwt.parse(made.to_text())


def claims_of(token: sdjwt.SdJwt) -> dict[str, Json]:
    return token.verify(ISSUER_KEY.public_key).claims


def test_a_licence_says_what_was_approved() -> None:
    claims = claims_of(issued())
    assert claims == {
        "iss": f"https://licences.example/authorities/{AUTHORITY}",
        "vct": f"urn:yinxin:licence-type:{LICENCE_TYPE}",
        "yinxin_schema": 1,
        "iat": int(EPOCH.timestamp()),
        "nbf": int(datetime(2026, 1, 1, tzinfo=BEIJING).timestamp()),
        "exp": int(datetime(2031, 1, 1, tzinfo=BEIJING).timestamp()),
        "ZZBS": str(IDENTIFIER),
        "ZZMC": "食品经营许可证",
        "ZZBFJG": "莆田市虚构局",
        "ZZBFJGDM": AUTHORITY,
        "ZZYXQQSRQ": "2026-01-01",
        "ZZYXQJZRQ": "2030-12-31",
        "status": {"status_list": {"idx": 7, "uri": STATUS.uri}},
        "ZZBH": "JY13503020000001",
        "ZZBFRQ": "2026-01-01",
        "CZZT": [
            {
                "CZZT": NAME,
                "CZZTDM": NUMBER,
                "CZZTDMLXDM": "111",
                "CZZTDMLX": "公民身份号码",
            }
        ],
        "KZ_JYCS": "莆田市虚构路 1 号",
        "KZ_JYXM": "预包装食品\n散装食品",
    }


def test_only_what_is_always_disclosed_shows_by_itself() -> None:
    bare = issued(decoys=2).select(lambda _: False)
    claims = claims_of(bare)
    assert claims.keys() == ALWAYS | {"CZZT"}
    assert claims["CZZT"] == [{}]
    for secret in (NUMBER, NAME, "JY13503020000001", "KZ_"):
        assert secret.encode() not in bare.jws.payload


def test_each_holder_and_each_of_its_members_is_disclosed_apart() -> None:
    pair = [
        {"name": NAME, "number": NUMBER, "number_type": "111"},
        {"name": "虚构乙", "number": citizen(2), "number_type": "111"},
    ]
    chosen = issued(holders=pair).select(lambda path: path == ("CZZT", 1, "CZZT"))
    assert claims_of(chosen)["CZZT"] == [{}, {"CZZT": "虚构乙"}]


def test_an_open_ended_licence_never_expires() -> None:
    claims = claims_of(issued(valid_until=None))
    assert "exp" not in claims
    assert claims["ZZYXQJZRQ"] == "长期"
    sdjwt.check_validity(claims, datetime(9000, 1, 1, tzinfo=UTC))


def test_a_licence_is_valid_from_its_first_moment_to_the_end_of_its_last_day() -> None:
    claims = claims_of(issued())
    first = datetime(2026, 1, 1, tzinfo=BEIJING)
    after = datetime(2031, 1, 1, tzinfo=BEIJING)
    second = timedelta(seconds=1)
    for moment in (first, after - second):
        sdjwt.check_validity(claims, moment)
    for moment, reason in ((first - second, "NOT_YET_VALID"), (after, "EXPIRED")):
        with pytest.raises(VerificationError) as caught:
            sdjwt.check_validity(claims, moment)
        assert caught.value.reason == reason


def test_the_holder_key_is_confirmed() -> None:
    jwk = ES256.public_to_jwk(HOLDER_KEY.public_key)
    assert confirmation_key(claims_of(issued(holder_key=jwk))) == HOLDER_KEY.public_key
    assert confirmation_key(claims_of(issued())) is None


def test_decoys_make_up_for_the_optional_fields_that_a_licence_lacks() -> None:
    optional = {"KZ_A", "KZ_B", "KZ_C"}
    sizes = set()
    for fields in ({"KZ_R": "x"}, {"KZ_R": "x", "KZ_A": "x"}, {"KZ_R": "x", "KZ_C": "x"}):
        token = issued(decoys=count_decoys(fields, optional), fields=fields)
        sizes.add(len(token.payload["_sd"]))
    assert len(sizes) == 1


@given(st.dates(date(1, 1, 1), date(9999, 12, 31)))
def test_days_begin_in_beijing(day: date) -> None:
    expected = datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert start_of_day(day) == expected.total_seconds() - 8 * 3600


def test_iss_and_vct_read_back() -> None:
    assert parse_issuer(issuer_uri("licences.example", AUTHORITY)) == (
        "licences.example",
        AUTHORITY,
    )
    assert parse_type(f"urn:yinxin:licence-type:{LICENCE_TYPE}") == LICENCE_TYPE


@pytest.mark.parametrize(
    "iss",
    [
        None,
        1,
        "",
        f"http://licences.example/authorities/{AUTHORITY}",
        f"https://licences.example/authorities/{AUTHORITY}/",
        f"https://licences.example/authorities/{AUTHORITY}\n",
        f"https://licences.example:443/authorities/{AUTHORITY}",
        f"https://a@licences.example/authorities/{AUTHORITY}",
        f"https://LICENCES.example/authorities/{AUTHORITY}",
        f"https://licences.example/x/authorities/{AUTHORITY}",
        f"https:///authorities/{AUTHORITY}",
    ],
)
def test_an_iss_of_another_form_is_refused(iss: Json) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_issuer(iss)
    assert caught.value.reason == "ISSUER"


@pytest.mark.parametrize("vct", [None, 1, "", LICENCE_TYPE, "urn:yinxin:licence-type:x"])
def test_a_vct_of_another_form_is_refused(vct: Json) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_type(vct)
    assert caught.value.reason == "LICENCE_TYPE"


FILE = LicenceFile("a.b.c~d~", b'{"kind":1,"salt":"AA"}', b"tlog-proof\n\xe5\x8d\xb0")


@pytest.mark.parametrize(
    "file", [FILE, LicenceFile("a.b.c~"), LicenceFile("a.b.c~", opening=b"{}")]
)
def test_a_file_reads_back(file: LicenceFile) -> None:
    assert LicenceFile.parse(file.to_bytes()) == file


def test_a_file_is_json_with_the_opening_in_it() -> None:
    members = parse_json_object(FILE.to_bytes())
    assert members["opening"] == {"kind": 1, "salt": "AA"}
    assert members["receipt"] == "tlog-proof\n印"


def test_a_file_that_was_indented_still_reads() -> None:
    data = b'{\n  "sd_jwt": "a.b.c~",\n  "opening": {"salt": "AA", "kind": 1}\n}\n'
    assert LicenceFile.parse(data) == LicenceFile("a.b.c~", b'{"kind":1,"salt":"AA"}')


def test_a_bare_token_is_a_file_without_proof() -> None:
    text = issued().to_text()
    assert LicenceFile.parse(f"\n{text}\r\n".encode()) == LicenceFile(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a.b.c",
        b"[]",
        b"\xff~",
        "印~".encode(),
        b"{}",
        b'{"sd_jwt":1}',
        b'{"sd_jwt":"a","more":1}',
        b'{"sd_jwt":"a","opening":"x"}',
        b'{"sd_jwt":"a","opening":[]}',
        b'{"sd_jwt":"a","receipt":{}}',
        b'{"sd_jwt":"a","receipt":1}',
        b"%PDF-1.7 ",
    ],
)
def test_what_is_not_a_licence_file_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        LicenceFile.parse(data)
    assert caught.value.reason == "LICENCE_FILE"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "JSON"),
        (b'{"sd_jwt":"a","sd_jwt":"b"}', "JSON_DUPLICATE_MEMBER"),
        (b"{" * (MAX_FILE_BYTES + 1), "TOO_LARGE"),
        (b'{"sd_jwt":"a","opening":{"a":' + b"[" * 20 + b"]" * 20 + b"}}", "TOO_DEEP"),
    ],
)
def test_json_that_is_not_strict_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        LicenceFile.parse(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("file", [LicenceFile("a", b"[]"), LicenceFile("a", b"", b"\xff")])
def test_a_file_that_cannot_be_written_is_refused(file: LicenceFile) -> None:
    with pytest.raises(MalformedError):
        file.to_bytes()


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused_by_a_typed_error(data: bytes) -> None:
    for candidate in (data, b"{" + data, canonical_json({"sd_jwt": "a"}) + data):
        try:
            found = LicenceFile.parse(candidate)
        except YinxinError:
            continue
        assert LicenceFile.parse(found.to_bytes()) == found


def test_nothing_of_a_file_shows_when_it_is_printed() -> None:
    assert repr(FILE) == "LicenceFile(…)"
