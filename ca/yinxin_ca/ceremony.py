"""A ceremony 密钥仪式: k of n custodians, one script, one record.

Everything happens in one process with the custodians present, because what
their shares give back must never be written anywhere. Each step is recorded
before the next is taken; a ceremony that was interrupted is run again from its
script, and does what is missing. What is refused is recorded too.

The order of dealing is what makes it safe to stop anywhere: shares are written,
read back and opened by their holders, and shown to open the *new* master file,
before that file takes the old one's place in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from yinxin_ca.ceremonyrecord import (
    BEGUN,
    CONFIRMED,
    DEALT,
    OPENED,
    PRESENTED,
    REFUSED,
    RESEALED,
    CeremonyRecord,
)
from yinxin_ca.ceremonyscript import CustodianTable, Operation, Script
from yinxin_ca.custodian import Custodian, read_identity
from yinxin_ca.masterkey import MasterKey, read_master_file
from yinxin_ca.share import (
    SECRET_BYTES,
    Share,
    combine_shares,
    deal_shares,
    open_share,
    passphrase_of,
    read_share,
    write_share,
)
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import FailedPreconditionError, IntegrityError, KeyStoreError, YinxinError
from yinxin_proto.strict import Json, b64url_encode

Ask = Callable[[CustodianTable], str]
"""Asks one custodian for the passphrase of the custodian's own folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """A ceremony under way; see `begin`."""

    script: Script
    record: CeremonyRecord
    clock: Clock
    entropy: Entropy
    ask: Ask

    @classmethod
    def begin(cls, script: Script, *, clock: Clock, entropy: Entropy, ask: Ask) -> Ceremony:
        """Begin a ceremony, or go on with the one that its record tells of.

        Raises:
            FailedPreconditionError: The record is of another script
                (``SCRIPT_CHANGED``), or the ceremony's window is over
                (``CEREMONY_EXPIRED``).
            KeyStoreError: A folder is not the custodian's whom the script
                names (``CUSTODIAN_FILE``, ``CUSTODIAN_OTHER``).
        """
        record = CeremonyRecord.create(
            script.record_path, clock=clock, plan=lambda: _plan(script, entropy)
        )
        begun = record.steps[0]
        if begun.event != BEGUN or begun.members["script"] != b64url_encode(script.digest):
            raise FailedPreconditionError(
                "the record is of another script; name another record in the script",
                reason="SCRIPT_CHANGED",
            )
        made = cls(script=script, record=record, clock=clock, entropy=entropy, ask=ask)
        if clock.now() - begun.at > script.tables.ceremony.window:
            made._refuse("CEREMONY_EXPIRED")
            raise FailedPreconditionError(
                "the ceremony's window is over; begin another with a script and record of its own",
                reason="CEREMONY_EXPIRED",
            )
        return made

    @property
    def id(self) -> str:
        """The ceremony's name."""
        return str(self.record.steps[0].members["ceremony"])

    def share(self, store: Path, *, passphrase: str) -> None:
        """Turn the passphrase of a key store into shares; afterwards only they open it.

        Args:
            store: The offline key store's directory.
            passphrase: What opens it so far.

        Raises:
            WrongPassphraseError: It does not.
            FailedPreconditionError: The script is for something else (``OPERATION``).
        """
        self._require(Operation.SHARE)
        with _Refusals(self):
            if not self._finish_if_resealed(store):
                self._deal(store, MasterKey.open(store, passphrase=passphrase))

    def renew(self, store: Path) -> None:
        """Replace the shares of a key store by new ones.

        Holders may present shares that have expired: a script that says so,
        and the record, are what allows it.

        Raises:
            FailedPreconditionError: As for `open`, and ``OPERATION``.
        """
        self._require(Operation.RENEW)
        with _Refusals(self):
            if self._finish_if_resealed(store):
                return
            holders = self._open_people(self.script.tables.holder)
            secret = self._gather(store, holders, expired=True)
            self._deal(store, MasterKey.open(store, passphrase=passphrase_of(secret)))

    def open(self, store: Path) -> str:
        """Return the passphrase of a key store, from its custodians' shares.

        It is for this process's memory alone.

        Raises:
            FailedPreconditionError: A share that expired (``SHARE_EXPIRED``), of
                another ceremony (``SHARE_MIXED``) or holder (``SHARE_HOLDER``),
                or too few (``SHARE_THRESHOLD``); another ``OPERATION``.
            IntegrityError: A share that was altered (``SHARE_CORRUPT``).
            KeyStoreError: A share that is missing or unreadable.
            WrongPassphraseError: A custodian's passphrase is wrong.
        """
        self._require(Operation.OPEN)
        with _Refusals(self):
            custodians = self._open_people(self.script.tables.custodian)
            passphrase = passphrase_of(self._gather(store, custodians))
            MasterKey.open(store, passphrase=passphrase)
            self.record.append(OPENED)
            self._sign(custodians)
        return passphrase

    def _deal(self, store: Path, master: MasterKey) -> None:
        """Deal new shares; only when all of them are proven does the master file change."""
        custodians = self._open_people(self.script.tables.custodian)
        table, now = self.script.tables.ceremony, self.clock.now()
        secret = self.entropy.token(SECRET_BYTES)
        content = master.seal(passphrase_of(secret), self.entropy)
        shares = deal_shares(
            secret,
            custodians=custodians,
            threshold=table.threshold,
            ceremony=self.id,
            dealt_at=now,
            expires_at=now + table.lifetime,
            opens=sha256(content).digest(),
            entropy=self.entropy,
        )
        deal = shares[0].deal
        self.record.append(DEALT, deal=deal.to_json(), digest=b64url_encode(deal.digest))
        for share, custodian in zip(shares, custodians, strict=True):
            write_share(share, custodian.folder, entropy=self.entropy)
        self._confirm(custodians, content, master)
        master.replace(store, content, entropy=self.entropy)
        self.record.append(RESEALED, opens=b64url_encode(deal.opens))
        self._sign(custodians)

    def _confirm(self, custodians: Sequence[Custodian], content: bytes, master: MasterKey) -> None:
        """Read every share back, and open the new master file with every one of them."""
        opens, now = sha256(content).digest(), self.clock.now()
        opened: list[tuple[Share, bytes]] = []
        for custodian in custodians:
            share = read_share(custodian.folder, opens)
            opened.append((share, open_share(share, custodian, at=now)))
        threshold = opened[0][0].deal.threshold
        # Each starts a set of its own, so that none is left untried.
        chosen = [
            [opened[(first + step) % len(opened)] for step in range(threshold)]
            for first in range(len(opened))
        ]
        secrets = {combine_shares(group) for group in chosen}
        found = [MasterKey.unseal(content, passphrase=passphrase_of(s)) for s in secrets]
        if found != [master]:
            raise IntegrityError(
                "the shares do not give back the master key; nothing was changed",
                reason="SHARE_CORRUPT",
            )
        for custodian in custodians:
            self.record.append(CONFIRMED, custodian=custodian.identity.id)

    def _finish_if_resealed(self, store: Path) -> bool:
        """Tell whether an interrupted run came as far as the new master file; then end it."""
        present = b64url_encode(sha256(read_master_file(store)).digest())
        dealt = [step.members["deal"]["opens"] for step in self.record.find(DEALT)]
        if present not in dealt:
            return False
        if not self.record.find(RESEALED):
            self.record.append(RESEALED, opens=present)
        self._sign(self._open_people(self.script.tables.custodian))
        return True

    def _gather(
        self, store: Path, custodians: Sequence[Custodian], *, expired: bool = False
    ) -> bytes:
        opens = sha256(read_master_file(store)).digest()
        opened: list[tuple[Share, bytes]] = []
        for custodian in custodians:
            with _Refusals(self, custodian.identity.id):
                share = read_share(custodian.folder, opens)
                opened.append(
                    (share, open_share(share, custodian, at=None if expired else self.clock.now()))
                )
            self.record.append(
                PRESENTED,
                custodian=custodian.identity.id,
                ceremony=share.deal.ceremony,
                index=share.index,
                expired=share.deal.expires_at <= self.clock.now().timestamp(),
            )
        return combine_shares(opened)

    def _open_people(self, people: Sequence[CustodianTable]) -> list[Custodian]:
        found = []
        for person in people:
            with _Refusals(self, person.id):
                found.append(
                    Custodian.open(
                        self.script.directory / person.folder,
                        passphrase=self.ask(person),
                        clock=self.clock,
                        entropy=self.entropy,
                    )
                )
                self._check_known(found[-1])
        return found

    def _check_known(self, custodian: Custodian) -> None:
        if custodian.identity.to_json() not in self.record.steps[0].members["custodians"]:
            raise FailedPreconditionError(
                f"the folder of {custodian.identity.id} is not the one that the ceremony began "
                "with; bring that one, or begin another ceremony",
                reason="CUSTODIAN_OTHER",
            )

    def _sign(self, custodians: Sequence[Custodian]) -> None:
        for custodian in custodians:
            if custodian.identity.id not in self.record.signatures:
                self.record.sign(custodian.identity.id, custodian.signer)

    def _require(self, operation: Operation) -> None:
        if self.script.operation is not operation:
            raise FailedPreconditionError(
                f"the script says {self.script.operation}, not {operation}; use the script that "
                "was approved for this",
                reason="OPERATION",
            )

    def _refuse(self, reason: str, custodian: str | None = None) -> None:
        if self.clock.now() < self.record.steps[-1].at:
            # No step can be dated by a clock that went back.
            return
        self.record.append(REFUSED, reason=reason, custodian=custodian)


class _Refusals:
    """Puts what ends the block on the ceremony's record, once, and lets it go on."""

    def __init__(self, ceremony: Ceremony, custodian: str | None = None) -> None:
        self._ceremony = ceremony
        self._custodian = custodian
        self._before = len(ceremony.record.find(REFUSED))

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        told = len(self._ceremony.record.find(REFUSED)) > self._before
        if isinstance(error, YinxinError) and not told:
            self._ceremony._refuse(error.reason, self._custodian)


def _plan(script: Script, entropy: Entropy) -> dict[str, Json]:
    table = script.tables.ceremony
    return {
        "ceremony": entropy.token(16).hex(),
        "script": b64url_encode(script.digest),
        "operation": table.operation.value,
        "region": table.region,
        "purpose": table.purpose,
        "threshold": table.threshold,
        "witnesses": list(table.witnesses),
        "custodians": [_identity(script, person) for person in _people(script)],
    }


def _people(script: Script) -> list[CustodianTable]:
    """Return everybody of a script once, who deals and who presents."""
    known = {person.id: person for person in script.tables.custodian}
    return [*known.values(), *(h for h in script.tables.holder if h.id not in known)]


def _identity(script: Script, person: CustodianTable) -> Json:
    found = read_identity(script.directory / person.folder)
    if (found.id, found.name) != (person.id, person.name):
        raise KeyStoreError(
            f"the folder of {person.id} belongs to another custodian ({found.id}); name the right "
            "folder in the script",
            reason="CUSTODIAN_OTHER",
        )
    return found.to_json()
