from __future__ import annotations

import pytest

from yinxin_ca.subject import AlternativeNames, NameRule, Subject, principal_uri
from yinxin_proto.error import InvalidArgumentError


def test_a_subject_is_country_organisation_code_and_name() -> None:
    subject = Subject(
        organisation="虚构市司法局", organisation_code="11350399MB0000017D", common_name="seal"
    )
    expected = "CN=seal,2.5.4.97=11350399MB0000017D,O=虚构市司法局,C=CN"
    assert subject.to_name().rfc4514_string() == expected


def test_every_fault_of_a_subject_is_named_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Subject(organisation=" ", organisation_code="11350399MB0000017X", common_name="a\x00b")
    assert caught.value.reason == "SUBJECT"
    found = [(fault.field, fault.reason) for fault in caught.value.violations]
    assert found == [
        ("organisation", "SUBJECT_TEXT"),
        ("common_name", "SUBJECT_TEXT"),
        ("organisation_code", "CREDIT_CODE"),
    ]


@pytest.mark.parametrize("text", ["x" * 65, "", "a\nb", "\u202ecn.elpmaxe"])
def test_a_text_that_a_name_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Subject(organisation=text)


@pytest.mark.parametrize(
    "number",
    ["350302 18850315 0016", "３５０３０２１８８５０３１５００１６", "350302-1885-0315-0016"],
)
def test_a_persons_number_is_seen_however_it_is_written(number: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Subject(organisation="虚构市", common_name=number)
    assert caught.value.violations[0].reason == "SUBJECT_NUMBER"
    with pytest.raises(InvalidArgumentError):
        principal_uri("licences.example.cn", number)


def test_a_persons_number_gets_into_no_name_and_no_message() -> None:
    number = "350302188503150012"
    with pytest.raises(InvalidArgumentError) as caught:
        Subject(organisation="虚构市", common_name=f"licence of {number}")
    assert caught.value.violations[0].reason == "SUBJECT_NUMBER"
    assert number not in str(caught.value)
    with pytest.raises(InvalidArgumentError) as caught:
        principal_uri("licences.example.cn", number)
    assert number not in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        {"dns": ("*.example.cn",)},
        {"dns": ("Example.cn",)},
        {"dns": ("例.cn",)},
        {"dns": ("a..cn",)},
        {"dns": ("-a.cn",)},
        {"dns": ("a.cn\n",)},
        {"dns": (".".join(["a" * 60] * 5),)},
        {"addresses": ("127.0.0",)},
        {"addresses": ("localhost",)},
        {"uri": "http://example.cn/principals/a"},
        {"uri": "https://example.cn"},
        {"uri": "https://user@example.cn/principals/a"},
        {"uri": "https://example.cn/principals/a b"},
        {"uri": "https://[::1/principals/a"},
        {"uri": "https://例.cn/principals/a"},
    ],
)
def test_an_alternative_name_out_of_form_is_refused(names: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        AlternativeNames(**names)  # type: ignore[arg-type]
    assert caught.value.reason == "ALTERNATIVE_NAME"


@pytest.mark.parametrize(
    ("domain", "principal"),
    [("Example.cn", "a"), ("example.cn", "A"), ("example.cn", ""), ("example.cn", "a/b")],
)
def test_a_principal_that_does_not_fit_a_uri_is_refused(domain: str, principal: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        principal_uri(domain, principal)
    assert caught.value.reason == "ALTERNATIVE_NAME"


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (AlternativeNames(), NameRule.NONE),
        (AlternativeNames(dns=("localhost",)), NameRule.HOST),
        (AlternativeNames(addresses=("::1",)), NameRule.HOST),
        (AlternativeNames(uri=principal_uri("example.cn", "a")), NameRule.PRINCIPAL),
        (AlternativeNames(uri="https://example.cn/log/350300/licences/1"), NameRule.LOG),
        (AlternativeNames(dns=("a.cn",), uri="https://example.cn/principals/a"), None),
    ],
)
def test_names_fit_one_rule_at_most(names: AlternativeNames, fits: NameRule | None) -> None:
    for rule in NameRule:
        if rule is fits:
            names.check(rule)
        else:
            with pytest.raises(InvalidArgumentError) as caught:
                names.check(rule)
            assert caught.value.reason == "NAME_RULE"
