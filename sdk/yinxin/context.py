"""The call context 调用情境: why a call is made, for which matter, by whom."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final

from yinxin_proto.error import InvalidArgumentError, Violation
from yinxin_proto.v1.common_pb2 import CallContext

MAX_PURPOSE_CHARACTERS: Final = 200
_MAX_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Context:
    """What is said of a call; the region audits the call with it.

    It is stored in clear: never a citizen's name or number.

    Raises:
        InvalidArgumentError: A member is blank that must not be, or too long
            (``CONTEXT``); ``violations`` has all.
    """

    purpose: str
    """用证事由, 1 to 200 characters."""
    _: KW_ONLY
    case_number: str = ""
    """办件编号, at most 64 characters."""
    service_item: str = ""
    """事项编码, at most 64 characters."""
    operator: str = ""
    """经办人, at most 64 characters."""

    def __post_init__(self) -> None:
        violations = [
            Violation(f"context.{name}", f"at most {limit} characters are expected", "CONTEXT")
            for name, limit in (
                ("purpose", MAX_PURPOSE_CHARACTERS),
                ("case_number", _MAX_CHARACTERS),
                ("service_item", _MAX_CHARACTERS),
                ("operator", _MAX_CHARACTERS),
            )
            if len(getattr(self, name)) > limit
        ]
        if not self.purpose.strip():
            violations.append(
                Violation("context.purpose", "say what the licence is needed for", "PURPOSE")
            )
        if violations:
            raise InvalidArgumentError(
                "the call context is not acceptable", reason="CONTEXT", violations=violations
            )

    def to_message(self) -> CallContext:
        """Return the context as calls carry it."""
        return CallContext(
            purpose=self.purpose,
            case_number=self.case_number,
            service_item=self.service_item,
            operator=self.operator,
        )
