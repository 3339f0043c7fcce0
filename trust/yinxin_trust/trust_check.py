"""Whether the tables say of trust what the offline roles signed.

=================== =========================================================
code                what is wrong
=================== =========================================================
PERMISSIONS         rows of the permissions are not those that were sealed
TRUST_SCOPE         an authority whose types differ from the signed trust list's
TRUST_KEY           an active licence or approval key that the signed list has not so
TRUST_LIST          the published trust list cannot be verified
=================== =========================================================

The seal stops who can write to the database; the comparison also stops who
has the online keys: a scope or an approval key takes the offline keys to add.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from yinxin_proto.error import IntegrityError, YinxinError
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.scope import TypeScope
from yinxin_proto.strict import parse_json
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.permissionseal import PermissionSeal
from yinxin_trust.publication import published_trust_list
from yinxin_trust.rows import moment

_PURPOSES: Final = ("licence", "approval")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustCheck:
    """The permissions under examination, in one snapshot."""

    conn: Connection
    """A read transaction."""
    seal: PermissionSeal

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong."""
        try:
            self.seal.check(self.conn)
        except IntegrityError as error:
            yield Finding(error.reason, "principal, role_assignment, authority", error.message)
        try:
            listed = TrustList.parse(published_trust_list(self.conn, self._published()))
        except YinxinError as error:
            yield Finding("TRUST_LIST", "published_file", error.message)
            return
        yield from self._scopes(listed)
        yield from self._keys(listed)

    def _published(self) -> datetime:
        """Return when something was published last: nothing had expired then."""
        newest = self.conn.execute(select(func.max(schema.published_file.c.published_ms))).scalar()
        return moment(newest or 0)

    def _scopes(self, listed: TrustList) -> Iterator[Finding]:
        a = schema.authority.c
        for code, types in self.conn.execute(select(a.code, a.types).order_by(a.code)):
            authority = listed.authority(code)
            scopes = {TypeScope.from_json(one, "types") for one in parse_json(types.encode())}
            if authority is None or set(authority.types) != scopes:
                yield Finding(
                    "TRUST_SCOPE",
                    f"authority {code}",
                    "its types are not those of the signed trust list",
                )

    def _keys(self, listed: TrustList) -> Iterator[Finding]:
        k = schema.authority_key.c
        query = select(k.thumbprint, k.authority_code, k.purpose, k.spki).where(
            k.purpose.in_(_PURPOSES), k.state == KeyState.ACTIVE.value
        )
        for row in self.conn.execute(query.order_by(k.thumbprint)):
            found = listed.find_key(bytes(row.thumbprint))
            owner, record = (None, None) if found is None else found
            is_same = (
                record is not None
                and owner is not None
                and owner.code == row.authority_code
                and record.purpose.value == row.purpose
                and record.spki == bytes(row.spki)
                and record.state is KeyState.ACTIVE
            )
            if not is_same:
                yield Finding(
                    "TRUST_KEY",
                    f"authority {row.authority_code}",
                    f"{row.purpose} key {bytes(row.thumbprint).hex()[:16]} is not so in the "
                    "signed trust list",
                )
