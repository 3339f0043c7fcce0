"""A founded region with one authority, one other, and whoever may call.

Everything is real: keys, certificates, tables, log. The people and bodies are
invented.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from support.clock import FixedClock, SeededEntropy
from support.requests import AUTHORITY, OTHER_AUTHORITY, REGION, citizen, document
from yinxin_edge.clock import SystemEntropy
from yinxin_proto.approval import ChangeRequest, IssueRequest, approve
from yinxin_proto.clock import Entropy
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_proto.number import IdentifierType, SubjectNumber
from yinxin_proto.number import parse as parse_number
from yinxin_proto.signature import SigningKey
from yinxin_proto.strict import Json, b64url_encode
from yinxin_trust.access import Principal, Role
from yinxin_trust.catalogue import add_type, parse_type
from yinxin_trust.changecommand import BatchChangeCommand, ChangeCommand, LicenceChange
from yinxin_trust.context import CallContext
from yinxin_trust.directory import touch
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.lifecycle import Lifecycle
from yinxin_trust.record import LicenceRecord
from yinxin_trust.region import EXAMPLE, Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.settings import RegionTable
from yinxin_trust.transition import Operation

TYPE = AUTHORITY + "901"
OTHER_TYPE = AUTHORITY + "902"
CONTEXT = CallContext("虚构事项审批", "BJ-0001", "SX-01", "经办甲")


def type_document(code: str = TYPE, **changes: Json) -> dict[str, Json]:
    """The members of an acceptable catalogue entry, some of them changed."""
    return {
        "schema": 1,
        "code": code,
        "schema_version": 1,
        "name": {"zh": "虚构许可证", "en": "Invented permit"},
        "defining_authority": {"code": AUTHORITY, "name": "虚构局", "level": 3},
        "category": 1,
        "service_items": [],
        "holder_categories": ["person", "legal_person"],
        "min_holders": 1,
        "max_holders": 3,
        "number_types": ["111", "001"],
        "validity": "长期",
        "issuing_level": 3,
        "issue_mode": "issue",
        "display_names": {
            "KZ_JYCS": {"zh": "经营场所", "en": "Premises"},
            "KZ_JYXM": {"zh": "经营项目", "en": "Items"},
        },
        "fields": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:yinxin:fields:{code}:1",
            "type": "object",
            "properties": {
                "KZ_JYCS": {"type": "string", "minLength": 1, "maxLength": 100},
                "KZ_JYXM": {"type": "string", "maxLength": 100},
            },
            "required": ["KZ_JYCS"],
            "additionalProperties": False,
        },
        **changes,
    }


def type_bytes(code: str = TYPE, **changes: Json) -> bytes:
    """A catalogue entry as a file."""
    return json.dumps(type_document(code, **changes), ensure_ascii=False).encode()


def person(sequence: int) -> SubjectNumber:
    """An ID number that checks and that nobody can have."""
    return parse_number(IdentifierType.CITIZEN_ID, citizen(sequence))


@dataclass
class SmallRegion:
    """The region, and the keys that its authorities keep to themselves."""

    region: Region
    clock: FixedClock
    approval_keys: Mapping[str, SigningKey]
    requests_made: int = 0

    @classmethod
    def found(
        cls,
        database_url: str = "sqlite://",
        entropy: Entropy | None = None,
        *,
        table: RegionTable = EXAMPLE,
    ) -> Self:
        """Found it; close it, or use it as a context manager."""
        clock = FixedClock()
        source = SeededEntropy("small region") if entropy is None else entropy
        with ExitStack() as undo:
            region = Region.in_memory(clock, source, region=table, database_url=database_url)
            undo.callback(region.close)
            suite = region.foundation.suite
            keys = {code: suite.generate() for code in (AUTHORITY, OTHER_AUTHORITY)}
            with region.storage.write() as conn:
                for code in (TYPE, OTHER_TYPE):
                    add_type(conn, parse_type(type_bytes(code)), now_ms=0)
                touch(conn)
            for code, key in keys.items():
                region.registrar.add_authority(
                    NewAuthority(
                        code=code,
                        name=f"虚构机构{code[-2:]}",
                        types=(TYPE, OTHER_TYPE),
                        approval_key=key.public_key,
                    )
                )
            with region.storage.write() as conn:
                for code in keys:
                    issuer = f"issuer-{code[-2:].lower()}"
                    region.registrar.add_principal(
                        conn, principal_id=issuer, display_name="虚构窗口", authority_code=code
                    )
                    region.registrar.assign(conn, issuer, Role.ISSUER, by="test")
            undo.pop_all()
        return cls(region, clock, keys)

    @classmethod
    def for_threads(cls, database_url: str = "sqlite://") -> Self:
        """Found one whose entropy several threads may use."""
        return cls.found(database_url, SystemEntropy())

    @property
    def lifecycle(self) -> Lifecycle:
        """Changes its licences."""
        return self.region.lifecycle

    def caller(self, code: str = AUTHORITY) -> Principal:
        """The principal that acts for an authority."""
        with self.region.storage.read() as conn:
            return self.region.directory.snapshot(conn).principal(f"issuer-{code[-2:].lower()}")

    def request_id(self) -> str:
        """An identifier that no request had yet."""
        self.requests_made += 1
        return f"request-{self.requests_made}"

    def nonce(self) -> str:
        """32 random bytes, as requests carry them."""
        return b64url_encode(self.region.entropy.token(32))

    # --- issue -----------------------------------------------------------------

    def issue_request(self, **changes: Json) -> bytes:
        """An acceptable issue request, with a licence number of its own."""
        self.requests_made += 1
        members = {
            "type": TYPE,
            "number": f"虚构证字{self.requests_made:05}",
            "nonce": self.nonce(),
            **changes,
        }
        return IssueRequest.from_document(document(**members)).to_bytes()

    def approve(
        self, requests: Sequence[bytes], *, operation: str = "issue", code: str = AUTHORITY
    ) -> str:
        """Sign an approval with an authority's approval key."""
        return approve(
            requests,
            signer=self.approval_keys[code],
            authority=code,
            region=REGION,
            clock=self.clock,
            entropy=self.region.entropy,
            operation=operation,
        )

    def issue(self, *requests: bytes, code: str = AUTHORITY) -> list[LicenceRecord]:
        """Issue requests under one approval."""
        return self.region.issuance.issue(
            IssueCommand(
                self.caller(code),
                CONTEXT,
                self.request_id(),
                requests,
                self.approve(requests, code=code),
            )
        )

    def issue_one(self, **changes: Json) -> LicenceRecord:
        """Issue one licence; see ``document`` for the members."""
        code = str(changes.get("issuer", AUTHORITY))
        return self.issue(self.issue_request(**changes), code=code)[0]

    # --- change ----------------------------------------------------------------

    def change_request(
        self,
        identifier: LicenceIdentifier,
        operation: Operation,
        *,
        effective_at: datetime | None = None,
        **changes: Json,
    ) -> bytes:
        """An acceptable change request."""
        moment = self.clock.now() if effective_at is None else effective_at
        members: dict[str, Json] = {
            "schema": 1,
            "region": REGION,
            "identifier": str(identifier),
            "operation": operation.value,
            "reason_code": "PENALTY",
            "reason": "虚构事由",
            "legal_basis": "虚构法第一条",
            "effective_at": int(moment.timestamp()),
            "nonce": self.nonce(),
        }
        return ChangeRequest.from_document({**members, **changes}).to_bytes()

    def change_command(
        self,
        record: LicenceRecord,
        operation: Operation,
        *,
        change_request: bytes | None = None,
        approval: str | None = None,
    ) -> ChangeCommand:
        """An acceptable command, unless it is given something else."""
        code = record.identifier.issuer
        data = change_request or self.change_request(record.identifier, operation)
        return ChangeCommand(
            caller=self.caller(code),
            context=CONTEXT,
            request_id=self.request_id(),
            body=record.identifier.body,
            operation=operation,
            change_request=data,
            approval=approval or self.approve([data], operation=operation.value, code=code),
        )

    def change(self, record: LicenceRecord, operation: Operation) -> LicenceRecord:
        """Change a licence's state."""
        return self.lifecycle.change(self.change_command(record, operation))

    def batch_command(
        self, records: Sequence[LicenceRecord], operation: Operation
    ) -> BatchChangeCommand:
        """An acceptable command over many licences."""
        data = [self.change_request(record.identifier, operation) for record in records]
        return BatchChangeCommand(
            caller=self.caller(),
            context=CONTEXT,
            request_id=self.request_id(),
            operation=operation,
            changes=[
                LicenceChange(record.identifier.body, each)
                for record, each in zip(records, data, strict=True)
            ],
            approval=self.approve(data, operation=operation.value),
        )

    def get(self, record: LicenceRecord) -> LicenceRecord:
        """The licence as the database has it now."""
        with self.region.storage.read() as conn:
            return self.region.holding.get(conn, record.identifier.body)

    def later(self, **units: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(**units))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.region.close()
