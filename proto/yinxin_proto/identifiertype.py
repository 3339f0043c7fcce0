"""Kinds of holder number (证件类型), GB/T 36903-2018 annex A."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

from yinxin_proto.error import InvalidArgumentError


class IdentifierType(StrEnum):
    """Kinds of holder number, by their code (GB/T 36903 annex A).

    Annex A has digits alone; the codes that begin with ``X`` are private, for
    two kinds that it does not list and that registries still key on.
    """

    USCC = ("001", "统一社会信用代码", "unified social credit code")
    OTHER_LEGAL = ("099", "其他法人证件", "other document of a legal person")
    CITIZEN_ID = ("111", "公民身份号码", "citizen identity number")
    OFFICER_CARD = ("114", "军官证", "military officer card")
    ARMED_POLICE_OFFICER_CARD = ("115", "武警警官证", "armed police officer card")
    SOLDIER_CARD = ("118", "士兵证", "soldier card")
    ARMED_POLICE_SOLDIER_CARD = ("119", "武警士兵证", "armed police soldier card")
    MILITARY_CIVILIAN_CARD = ("120", "军队文职人员证", "military civilian staff card")
    ARMED_POLICE_CIVILIAN_CARD = ("122", "武警文职人员证", "armed police civilian staff card")
    DIPLOMATIC_PASSPORT = ("411", "外交护照", "diplomatic passport")
    SERVICE_PASSPORT = ("412", "公务护照", "service passport")
    PUBLIC_AFFAIRS_PASSPORT = ("413", "公务普通护照", "passport for public affairs")
    ORDINARY_PASSPORT = ("414", "普通护照", "ordinary passport")
    TAIWAN_PERMIT = ("511", "台湾居民来往大陆通行证", "mainland travel permit, Taiwan")
    HONG_KONG_MACAO_PERMIT = (
        "516",
        "港澳居民来往内地通行证",
        "mainland travel permit, Hong Kong and Macao",
    )
    OTHER_PERSON = ("999", "其他自然人证件", "other document of a natural person")
    SOCIAL_SECURITY_CARD = ("X01", "社会保障卡号", "social security card number")
    ORGANISATION_CODE = ("X02", "组织机构代码", "organisation code")

    name_zh: str
    """Display name in Chinese."""
    name_en: str
    """Display name in English."""

    def __new__(cls, code: str, name_zh: str, name_en: str) -> Self:
        """Make a member whose value is its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.name_zh = name_zh
        member.name_en = name_en
        return member

    @property
    def is_person(self) -> bool:
        """Whether such a number names a natural person."""
        return self not in _LEGAL_TYPES

    @classmethod
    def of(cls, code: str) -> IdentifierType:
        """Return the type with this code.

        Raises:
            InvalidArgumentError: No such code (``NUMBER_TYPE``).
        """
        found = _BY_CODE.get(code)
        if found is None:
            raise InvalidArgumentError(
                f"unknown type of number; known are {', '.join(_BY_CODE)}", reason="NUMBER_TYPE"
            )
        return found


_BY_CODE: Final[dict[str, IdentifierType]] = {kind.value: kind for kind in IdentifierType}
_LEGAL_TYPES: Final = frozenset(
    {IdentifierType.USCC, IdentifierType.OTHER_LEGAL, IdentifierType.ORGANISATION_CODE}
)
