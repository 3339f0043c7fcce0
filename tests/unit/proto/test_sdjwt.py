from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from support.clock import SeededEntropy
from support.forge import ISSUER_KEY, STRANGER_KEY, digest, disclosure, token
from yinxin_proto import sdjwt
from yinxin_proto.disclosure import MAX_DISCLOSURES, disclose
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError, YinxinError
from yinxin_proto.sdjwt import SD, Issuer, issue, parse
from yinxin_proto.sdjwt_json import format_json_serialisation, parse_json_serialisation
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json_object

KEY = ISSUER_KEY.public_key
CLAIMS: dict[str, Any] = {
    "iss": "https://licences.example/authorities/1",
    "ZZMC": "食品经营许可证",
    "ZZBH": SD("JY-1"),
    "CZZT": [{"CZZT": SD("虚构甲"), "CZZTDM": SD("number")}, SD({"CZZT": SD("虚构乙")})],
    "KZ_A": SD({"inner": SD([1, SD(2), None]), "open": True}),
}
FULL: dict[str, Any] = {
    "iss": "https://licences.example/authorities/1",
    "ZZMC": "食品经营许可证",
    "ZZBH": "JY-1",
    "CZZT": [{"CZZT": "虚构甲", "CZZTDM": "number"}, {"CZZT": "虚构乙"}],
    "KZ_A": {"inner": [1, 2, None], "open": True},
}


def issued(decoys: int = 0, claims: dict[str, Any] = CLAIMS) -> sdjwt.SdJwt:
    made = issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1), decoys=decoys)
    return parse(made.to_text())


def reason_of(presentation: str | bytes, typ: str | None = "dc+sd-jwt") -> str:
    with pytest.raises(YinxinError) as caught:
        parse(presentation).verify(KEY, typ=typ)
    return caught.value.reason


def with_member(*members: Json) -> str:
    """A token whose one disclosure is referred to as a member."""
    encoded = disclosure(*members)
    return token({"_sd": [digest(encoded)]}, [encoded])


def test_what_was_issued_verifies_to_the_claims() -> None:
    assert issued().verify(KEY).claims == FULL


def test_what_is_not_disclosed_leaves_no_trace_in_the_claims() -> None:
    bare = issued(decoys=3).select(lambda _: False)
    assert bare.encoded_disclosures == ()
    assert bare.verify(KEY).claims == {
        "iss": FULL["iss"],
        "ZZMC": FULL["ZZMC"],
        "CZZT": [{}],
    }


def test_the_payload_holds_neither_names_nor_values_that_are_concealed() -> None:
    payload = issued().jws.payload
    for secret in ("ZZBH", "JY-1", "KZ_A", "虚构甲"):
        assert secret.encode() not in payload
    assert parse_json_object(payload)["_sd_alg"] == "sha-256"


def test_selecting_an_inner_value_shows_what_it_stands_in() -> None:
    chosen = issued().select(lambda path: path == ("KZ_A", "inner", 1))
    verified = chosen.verify(KEY)
    assert verified.claims["KZ_A"] == {"inner": [1, 2, None], "open": True}
    assert "ZZBH" not in verified.claims
    assert verified.disclosed_paths == {("KZ_A",), ("KZ_A", "inner"), ("KZ_A", "inner", 1)}


def test_selecting_among_holders_keeps_their_places_as_issued() -> None:
    chosen = issued().select(lambda path: path[:2] == ("CZZT", 1))
    assert chosen.verify(KEY).claims["CZZT"] == [{}, {"CZZT": "虚构乙"}]


def test_selecting_twice_is_selecting_both() -> None:
    once = issued().select(lambda path: path[0] == "KZ_A")
    assert once.select(lambda path: path == ("KZ_A",)).verify(KEY).claims["KZ_A"] == {"open": True}


def test_a_selection_drops_the_key_binding() -> None:
    bound = parse(issued().to_text() + "a.b.c")
    assert bound.key_binding == "a.b.c"
    assert bound.select(lambda _: True).key_binding is None


def test_digests_are_sorted_and_decoys_among_them_look_alike() -> None:
    payload = issued(decoys=4).payload
    assert payload["_sd"] == sorted(payload["_sd"])
    assert len(payload["_sd"]) == 2 + 4
    assert {len(one) for one in payload["_sd"]} == {43}


def test_salts_have_128_bits_and_never_repeat() -> None:
    many = {f"c{i}": SD(i) for i in range(100)}
    salts = [one.salt for one in issued(claims=many).disclosures]
    assert len(set(salts)) == 100
    assert {len(salt) for salt in salts} == {22}


def test_an_issuer_makes_what_issue_makes() -> None:
    issuer = Issuer(signer=ISSUER_KEY, header={"kid": "k"})
    made = issuer.issue(CLAIMS, entropy=SeededEntropy(1))
    other = issue(CLAIMS, signer=ISSUER_KEY, entropy=SeededEntropy(1), header={"kid": "k"})
    assert made == other
    assert parse(made.to_text()).header["kid"] == "k"


def test_a_token_without_anything_concealed_has_no_digests() -> None:
    plain = issued(claims={"iss": "x"})
    assert plain.payload == {"iss": "x"}
    assert plain.verify(KEY).claims == {"iss": "x"}


def test_text_and_parse_are_inverse() -> None:
    text = issued().to_text()
    assert parse(text).to_text() == text
    assert parse(text.encode()).to_text() == text
    assert parse(text + "a.b.c").to_text() == text + "a.b.c"


def test_equal_headers_share_one_key_for_caches() -> None:
    one, two = issued(), issued(claims={"iss": "x"})
    assert one.encoded_header == two.encoded_header
    assert one.header is two.header


def test_verifying_changes_neither_payload_nor_result() -> None:
    presented = issued()
    before = canonical_json(presented.payload)
    first = presented.verify(KEY).claims
    assert canonical_json(presented.payload) == before
    assert presented.verify(KEY).claims is first


def test_nothing_of_the_subject_shows_when_printed() -> None:
    presented = issued()
    printed = "".join(
        map(repr, [presented, presented.verify(KEY), *presented.disclosures, SD("虚构甲")])
    )
    assert "虚构" not in printed
    assert "number" not in printed


# --- the five faults that the specification's own library lets pass -----------


def test_an_expired_token_is_refused() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sdjwt.check_validity({"exp": int(now.timestamp()) + 1, "nbf": int(now.timestamp())}, now)
    with pytest.raises(VerificationError) as caught:
        sdjwt.check_validity({"exp": int(now.timestamp())}, now)
    assert caught.value.reason == "EXPIRED"
    with pytest.raises(VerificationError) as caught:
        sdjwt.check_validity({"nbf": int(now.timestamp()) + 1}, now)
    assert caught.value.reason == "NOT_YET_VALID"


@pytest.mark.parametrize("value", ["1", True, None, [1]])
def test_a_validity_that_is_no_number_is_refused(value: Json) -> None:
    with pytest.raises(MalformedError) as caught:
        sdjwt.check_validity({"exp": value}, datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.reason == "NUMERIC_DATE"


def test_a_disclosure_that_nothing_refers_to_is_refused() -> None:
    assert reason_of(issued().to_text() + disclosure("salt", "extra", 1) + "~") == (
        "UNREFERENCED_DISCLOSURE"
    )


def test_a_disclosure_with_another_value_is_refused() -> None:
    encoded = disclosure("salt", "ZZBH", "JY-1")
    changed = disclosure("salt", "ZZBH", "JY-2")
    assert reason_of(token({"_sd": [digest(encoded)]}, [changed])) == "UNREFERENCED_DISCLOSURE"


def test_an_inner_disclosure_without_its_outer_one_is_refused() -> None:
    presented = issued()
    inner = next(one for one in presented.disclosures if one.name == "inner")
    alone = f"{presented.issuer_jwt}~{inner.encoded}~"
    assert reason_of(alone) == "UNREFERENCED_DISCLOSURE"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("_sd", "RESERVED_CLAIM_SD"),
        ("...", "RESERVED_CLAIM_DOTS"),
        ("_sd_alg", "RESERVED_CLAIM_SD_ALG"),
    ],
)
def test_a_disclosed_claim_with_a_reserved_name_is_refused(name: str, reason: str) -> None:
    assert reason_of(with_member("salt", name, ["x"])) == reason


@pytest.mark.parametrize(
    "payload",
    [
        {"_sd": ["A", "A"]},
        {"_sd": ["A"], "inner": {"_sd": ["A"]}},
        {"_sd": ["A"], "array": [{"...": "A"}]},
        {"array": [{"...": "A"}, {"...": "A"}]},
    ],
)
def test_a_digest_that_occurs_twice_is_refused(payload: dict[str, Any]) -> None:
    assert reason_of(token(payload)) == "DUPLICATE_DIGEST"


def test_a_digest_twice_with_its_disclosure_is_refused() -> None:
    encoded = disclosure("salt", "a", 1)
    found = digest(encoded)
    payload = {"one": {"_sd": [found]}, "two": {"_sd": [found]}}
    assert reason_of(token(payload, [encoded])) == "DUPLICATE_DIGEST"


def test_a_digest_that_a_disclosure_repeats_is_refused() -> None:
    encoded = disclosure("salt", "a", {"_sd": ["A"]})
    assert reason_of(token({"_sd": [digest(encoded), "A"]}, [encoded])) == "DUPLICATE_DIGEST"


def test_another_type_is_refused() -> None:
    text = token({"iss": "x"}, typ="example+sd-jwt")
    assert reason_of(text) == "TYP"
    assert parse(text).verify(KEY, typ="example+sd-jwt").claims == {"iss": "x"}
    assert parse(text).verify(KEY, typ=None).claims == {"iss": "x"}


# --- the rest of RFC 9901 section 7.1 ------------------------------------------


def test_a_signature_of_another_key_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        issued().verify(STRANGER_KEY.public_key)
    assert caught.value.reason == "SIGNATURE"


def test_the_same_disclosure_twice_is_refused() -> None:
    presented = issued()
    again = presented.to_text() + presented.encoded_disclosures[0] + "~"
    assert reason_of(again) == "DUPLICATE_DISCLOSURE"


@pytest.mark.parametrize("digests", ["A", None, {"A": 1}, [1], [["A"]], ["A", None], 5])
def test_digests_that_are_not_an_array_of_strings_are_refused(digests: Json) -> None:
    assert reason_of(token({"_sd": digests})) == "DIGESTS_FORM"
    assert reason_of(token({"inner": [{"_sd": digests}]})) == "DIGESTS_FORM"


@pytest.mark.parametrize(
    "element",
    [{"...": "A", "more": 1}, {"...": 1}, {"...": None}, {"...": "A", "_sd": ["B"]}],
)
def test_dots_beside_anything_else_are_refused(element: dict[str, Any]) -> None:
    assert reason_of(token({"array": [element]})) == "RESERVED_CLAIM_DOTS"


@pytest.mark.parametrize("payload", [{"...": "A"}, {"inner": {"...": "A"}}])
def test_dots_outside_an_array_are_refused(payload: dict[str, Any]) -> None:
    assert reason_of(token(payload)) == "RESERVED_CLAIM_DOTS"


def test_a_hash_named_below_the_top_is_refused() -> None:
    assert reason_of(token({"inner": {"_sd_alg": "sha-256"}})) == "RESERVED_CLAIM_SD_ALG"
    encoded = disclosure("salt", "a", {"_sd_alg": "sha-256"})
    assert reason_of(token({"_sd": [digest(encoded)]}, [encoded])) == "RESERVED_CLAIM_SD_ALG"


@pytest.mark.parametrize("name", ["sha-1", "SHA-256", "md5", "", 1, None, ["sha-256"]])
def test_a_hash_unknown_here_is_refused_even_without_disclosures(name: Json) -> None:
    assert reason_of(token({"_sd_alg": name})) == "HASH_ALGORITHM"


def test_no_hash_named_is_sha_256() -> None:
    encoded = disclosure("salt", "a", 1)
    assert parse(token({"_sd": [digest(encoded)]}, [encoded])).verify(KEY).claims == {"a": 1}


def test_a_name_that_its_level_already_has_is_refused() -> None:
    encoded = disclosure("salt", "a", 1)
    assert reason_of(token({"a": 2, "_sd": [digest(encoded)]}, [encoded])) == "CLAIM_COLLISION"


def test_two_disclosures_of_one_name_at_one_level_are_refused() -> None:
    pair = [disclosure("s1", "a", 1), disclosure("s2", "a", 2)]
    assert reason_of(token({"_sd": [digest(one) for one in pair]}, pair)) == "CLAIM_COLLISION"


def test_one_name_at_two_levels_is_no_collision() -> None:
    encoded = disclosure("s1", "a", 1)
    payload = {"a": {"_sd": [digest(encoded)]}}
    assert parse(token(payload, [encoded])).verify(KEY).claims == {"a": {"a": 1}}


def test_a_member_where_an_element_belongs_is_refused_and_the_reverse() -> None:
    member = disclosure("salt", "a", 1)
    assert reason_of(token({"array": [{"...": digest(member)}]}, [member])) == "DISCLOSURE_FORM"
    element = disclosure("salt", 1)
    assert reason_of(token({"_sd": [digest(element)]}, [element])) == "DISCLOSURE_FORM"


@pytest.mark.parametrize(
    "members",
    [(), ("salt",), ("salt", "a", 1, 2), (1, "a", 1), ("salt", 1, 1), ("salt", None, 1), (None, 1)],
)
def test_a_disclosure_of_another_form_is_refused(members: tuple[Any, ...]) -> None:
    assert reason_of(with_member(*members)) == "DISCLOSURE_FORM"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1}', "DISCLOSURE_FORM"),
        (b'"text"', "DISCLOSURE_FORM"),
        (b"null", "DISCLOSURE_FORM"),
        (b'["s","a",1] ["s","b",2]', "JSON"),
        (b'["s","a",1],', "JSON"),
        (b'["s","a",{"b":1,"b":2}]', "JSON_DUPLICATE_MEMBER"),
        (b'["s","a",NaN]', "JSON"),
        (b'["s","a",9007199254740993]', "JSON_NUMBER"),
        (b'["s","a","\\ud800"]', "JSON"),
        (b'["s","a","\xff"]', "JSON"),
        (b'["s","a",' + b"[" * 40 + b"]" * 40 + b"]", "TOO_DEEP"),
        (b'["s","a",' + b"[" * 9000, "TOO_DEEP"),
    ],
)
def test_a_disclosure_that_is_not_strict_json_is_refused(text: bytes, reason: str) -> None:
    encoded = b64url_encode(text)
    assert reason_of(token({"_sd": [digest(encoded)]}, [encoded])) == reason


def test_white_space_and_escapes_in_a_disclosure_are_read() -> None:
    for text in (b' ["s" , "a" , 1 ] ', b'["s","\\u0061",1]', b'\n[\t"s",\r"a",1]'):
        encoded = b64url_encode(text)
        presented = parse(token({"_sd": [digest(encoded)]}, [encoded]))
        assert presented.verify(KEY).claims == {"a": 1}


@pytest.mark.parametrize("ending", ["=", "==", "+", "/", " ", "\n", "é", "."])
def test_a_disclosure_that_is_not_base64url_is_refused(ending: str) -> None:
    encoded = disclosure("salt", "a", 1) + ending
    assert reason_of(token({"iss": "x"}, [encoded])) == "BASE64URL"


def test_stray_bits_after_a_disclosure_are_refused() -> None:
    encoded = next(
        one for one in (disclosure("s" * n, "a", 1) for n in range(3)) if len(one) % 4 == 2
    )
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = encoded[:-1] + last[last.index(encoded[-1]) + 1]
    assert reason_of(token({"_sd": [digest(changed)]}, [changed])) == "BASE64URL"


def test_an_empty_disclosure_is_refused() -> None:
    assert reason_of(token({"iss": "x"}, [""])) == "JSON"


def test_nesting_through_disclosures_is_bounded() -> None:
    encoded = disclosure("salt", "x", 1)
    chain = [encoded]
    for _ in range(20):
        encoded = disclosure("salt", "x", {"_sd": [digest(encoded)]})
        chain.append(encoded)
    assert reason_of(token({"_sd": [digest(encoded)]}, chain)) == "TOO_DEEP"


def test_a_payload_nests_as_deep_as_json_may() -> None:
    value: Any = 1
    for _ in range(15):
        value = [value]
    assert parse(token({"a": value})).verify(KEY).claims == {"a": value}
    assert reason_of(token({"a": [value]})) == "TOO_DEEP"


@pytest.mark.parametrize("name", ["iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"])
def test_a_credential_never_conceals_what_its_verifier_needs(name: str) -> None:
    assert reason_of(with_member("salt", name, 1)) == "CONCEALED_CLAIM"
    with pytest.raises(InvalidArgumentError) as caught:
        issue({name: SD(1)}, signer=ISSUER_KEY, entropy=SeededEntropy(1))
    assert caught.value.reason == "CONCEALED_CLAIM"


def test_elsewhere_such_names_are_free() -> None:
    made = issue({"a": {"exp": SD(1)}}, signer=ISSUER_KEY, entropy=SeededEntropy(1))
    assert parse(made.to_text()).verify(KEY).claims == {"a": {"exp": 1}}
    other = issue({"exp": SD(1)}, signer=ISSUER_KEY, entropy=SeededEntropy(1), typ="x+sd-jwt")
    assert parse(other.to_text()).verify(KEY, typ="x+sd-jwt").claims == {"exp": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SD_JWT_FORM"),
        ("a.b.c", "SD_JWT_FORM"),
        ("~", "JWS_PARTS"),
        ("a~", "JWS_PARTS"),
        ("a.b~", "JWS_PARTS"),
        ("a.b.c.d~", "JWS_PARTS"),
        ("é.b.c~", "BASE64URL"),
        (b"\xff~", "BASE64URL"),
        ("~" * (MAX_DISCLOSURES + 2), "TOO_LARGE"),
        ("a" * (1 << 20), "TOO_LARGE"),
    ],
)
def test_what_is_not_an_sd_jwt_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(text)
    assert caught.value.reason == reason


def test_a_presentation_that_lost_its_last_separator_is_refused() -> None:
    assert reason_of(issued().to_text()[:-1]) == "SD_JWT_FORM"


def test_a_payload_that_is_not_an_object_is_refused() -> None:
    jwt = sdjwt.issue({}, signer=ISSUER_KEY, entropy=SeededEntropy(1)).issuer_jwt
    header, _, signature = jwt.split(".")
    for payload in (b"[]", b"1", b"", b'{"a":1,"a":2}', b'{"a":1}x'):
        with pytest.raises(MalformedError):
            parse(f"{header}.{b64url_encode(payload)}.{signature}~").unverified_claims()


# --- issuing -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_sd", "...", "_sd_alg"])
@pytest.mark.parametrize("nest", [lambda c: c, lambda c: {"a": c}, lambda c: {"a": SD([c])}])
def test_reserved_names_are_not_issued(name: str, nest: Callable[[Json], Json]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        issue(nest({name: SD(1)}), signer=ISSUER_KEY, entropy=SeededEntropy(1))
    assert caught.value.reason.startswith("RESERVED_CLAIM")


@pytest.mark.parametrize(
    "claims",
    [
        {"a": object()},
        {"a": SD(object())},
        {"a": float("nan")},
        {"a": SD(float("inf"))},
        {"a": SD("\ud800")},
        {"a": "\ud800"},
        {1: SD("x")},
        {"a": SD(SD(1))},
    ],
)
def test_what_json_cannot_express_is_not_issued(claims: dict[Any, Any]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1))
    assert caught.value.reason == "CLAIMS"


def test_claims_that_contain_themselves_are_not_issued() -> None:
    claims: dict[str, Any] = {}
    claims["a"] = claims
    with pytest.raises(InvalidArgumentError):
        issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1))


@pytest.mark.parametrize("decoys", [-1, 65])
def test_decoys_are_bounded(decoys: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        issue({}, signer=ISSUER_KEY, entropy=SeededEntropy(1), decoys=decoys)
    assert caught.value.reason == "DECOYS"


def test_decoys_alone_make_digests() -> None:
    made = issue({"iss": "x"}, signer=ISSUER_KEY, entropy=SeededEntropy(1), decoys=2)
    presented = parse(made.to_text())
    assert len(presented.payload["_sd"]) == 2
    assert presented.verify(KEY).claims == {"iss": "x"}


def test_disclose_leaves_its_input_alone() -> None:
    payload: dict[str, Any] = {"_sd": ["A"], "a": {"_sd": ["B"]}}
    assert disclose(payload, {"B": ["s", "b", 1]}) == {"a": {"b": 1}}
    assert payload == {"_sd": ["A"], "a": {"_sd": ["B"]}}


# --- JSON serialisation --------------------------------------------------------


def test_json_serialisation_reads_back() -> None:
    presented = issued()
    data = format_json_serialisation(presented)
    assert parse_json_serialisation(data).to_text() == presented.to_text()
    bound = parse(presented.to_text() + "a.b.c")
    again = parse_json_serialisation(format_json_serialisation(bound))
    assert again.key_binding == "a.b.c"


def general(*signatures: Json) -> bytes:
    flat = parse_json_object(format_json_serialisation(issued()))
    return canonical_json({"payload": flat["payload"], "signatures": list(signatures)})


def test_in_a_general_serialisation_disclosures_go_with_every_signature() -> None:
    first = parse_json_object(format_json_serialisation(issued()))
    del first["payload"]
    second = {"protected": first["protected"], "signature": first["signature"]}
    for index in (0, 1):
        read = parse_json_serialisation(general(first, second), index=index)
        assert read.verify(KEY).claims == FULL
    for signatures in ((), (first, first), (1,), (first, 1), (first,) * 9):
        with pytest.raises(MalformedError) as caught:
            parse_json_serialisation(general(*signatures))
        assert caught.value.reason == "SD_JWT_FORM"
    for index in (-1, 2):
        with pytest.raises(MalformedError) as caught:
            parse_json_serialisation(general(first, second), index=index)
        assert caught.value.reason == "SD_JWT_FORM"


def test_a_serialisation_both_flattened_and_general_is_refused() -> None:
    flat = parse_json_object(format_json_serialisation(issued()))
    with pytest.raises(MalformedError) as caught:
        parse_json_serialisation(canonical_json({**flat, "signatures": [flat]}))
    assert caught.value.reason == "SD_JWT_FORM"


@pytest.mark.parametrize(
    "change",
    [
        {"header": []},
        {"header": {"disclosures": "x"}},
        {"header": {"disclosures": [1]}},
        {"header": {"disclosures": ["a~b"]}},
        {"header": {"disclosures": ["a"] * (MAX_DISCLOSURES + 1)}},
        {"header": {"kb_jwt": 1}},
        {"header": {"kb_jwt": "a~b"}},
        {"header": {"alg": "ES256"}},
        {"payload": None},
        {"protected": 1},
        {"signature": "a~b"},
    ],
)
def test_a_json_serialisation_of_another_form_is_refused(change: dict[str, Any]) -> None:
    flat = parse_json_object(format_json_serialisation(issued()))
    with pytest.raises(MalformedError) as caught:
        parse_json_serialisation(canonical_json({**flat, **change}))
    assert caught.value.reason == "SD_JWT_FORM"
