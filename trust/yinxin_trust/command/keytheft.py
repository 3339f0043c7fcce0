"""``yinxin key suspend|resume|compromise|freeze|break``: when a key may be in other hands.

Each is one command run twice: first it stops what must stop, and writes what
officers are to sign; then, given the signed file, it carries that out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError, InvalidArgumentError, UnavailableError
from yinxin_proto.keyrecord import KeyRecord
from yinxin_proto.operation import Action, Operation, new_operation
from yinxin_proto.operationfile import MAX_FILE_BYTES, OperationFile
from yinxin_proto.strict import Json
from yinxin_proto.trustchange import parameters_of
from yinxin_trust.approvedstock import ApprovedStock, read_copies
from yinxin_trust.catheft import CaTheft
from yinxin_trust.command.console import audited
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.compromise import Compromise, Proposal
from yinxin_trust.keystanding import find_key
from yinxin_trust.logtheft import LogTheft
from yinxin_trust.refresh import refresh
from yinxin_trust.region import Region
from yinxin_trust.roottheft import RootTheft
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.suspension import Suspension

_SHOWN: Final = 20
"""Doubtful entries that are listed; all of them are in the file."""

KeyName = Annotated[str, typer.Argument(metavar="KEY", show_default=False)]
Origin = Annotated[str, typer.Argument(metavar="ORIGIN", show_default=False)]
Signed = Annotated[Path | None, typer.Option("--operation", metavar="FILE", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the commands to a group."""
    application.command("suspend")(suspend)
    application.command("resume")(resume)
    application.command("compromise")(compromise)
    application.command("freeze")(freeze)
    application.command("break")(break_log_key)
    application.command("replace-ca")(replace_ca)
    application.command("replace-root")(replace_root)


def suspend(
    context: typer.Context,
    directory: RegionDirectory,
    name: KeyName,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Stop a key at once; with an officer's signature, tell verifiers too."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=operation is not None) as region:
        suspension = Suspension(registrar=region.registrar)
        with audited(region, "SuspendKey", f"keys/{name}"):
            if operation is None:
                key = suspension.stop(name)
                terminal.line("key.stopped", style="green", ref=str(key))
                wanted = _operation(region, Action.SUSPEND_KEY, key.thumbprint.hex(), {})
                _hand_out(terminal, out, wanted, {})
                return
            refresh(region)
            key = suspension.suspend(name, [read_operation(operation).signed()])
    terminal.line("key.suspended", style="green", ref=str(key))


def resume(
    context: typer.Context,
    directory: RegionDirectory,
    name: KeyName,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Let a suspended key count again; two officers sign it."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=operation is not None) as region:
        with region.storage.read() as conn:
            key = find_key(conn, name)
        if operation is None:
            wanted = _operation(region, Action.RESUME_KEY, key.thumbprint.hex(), {})
            _hand_out(terminal, out, wanted, {})
            return
        refresh(region)
        with audited(region, "ResumeKey", f"keys/{name}"):
            Suspension(registrar=region.registrar).resume(
                name, [read_operation(operation).signed()]
            )
    terminal.line("key.resumed", style="green", ref=str(key))


def compromise(
    context: typer.Context,
    directory: RegionDirectory,
    name: KeyName,
    approvals: Annotated[
        list[Path] | None, typer.Option("--approvals", metavar="PATH", show_default=False)
    ] = None,
    operation: Signed = None,
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Declare a key stolen: what it signed is held against what was approved."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=operation is not None) as region:
        if operation is not None:
            _carry_out(terminal, region, name, read_operation(operation))
            return
        work = Compromise(
            registrar=region.registrar,
            subjects=region.subjects,
            sequence=lambda: _sequence(region),
        )
        with audited(region, "StopKey", f"keys/{name}"):
            stock = _stock(work, approvals or ())
            proposal = work.propose(name, stock)
        refused = Counter(() if stock is None else stock.refused)
        if as_json:
            terminal.json(report_json(proposal, refused))
        else:
            # A comparison alone stops it, too: what it signs meanwhile would be beyond the pin.
            terminal.line("key.stopped", style="green", ref=str(proposal.key))
            _show(terminal, proposal, refused)
        if not dry_run:
            _hand_out(
                terminal, out, proposal.operation(region.registrar), proposal.record.to_json()
            )


def _carry_out(terminal: Terminal, region: Region, name: str, file: OperationFile) -> None:
    record = KeyRecord.from_json(file.outcome, "outcome")
    with region.storage.read() as conn:
        key = find_key(conn, name)
    if key.thumbprint != record.thumbprint:
        raise InvalidArgumentError(
            "the operation is about another key than the one named", reason="OPERATION_TARGET"
        )
    work = Compromise(registrar=region.registrar, subjects=region.subjects)
    refresh(region)
    with audited(region, "CompromiseKey", f"keys/{key}"):
        successor = work.carry_out(record, [file.signed()])
    terminal.line("key.compromised", style="green", ref=str(key))
    if successor is not None:
        terminal.line("key.succeeded", ref=str(successor.ref))
    terminal.note("key.after", style="")


def _sequence(region: Region) -> None:
    """Give what waits its place, unless a running server does."""
    try:
        region.sequence()
    except UnavailableError as error:
        if error.reason != "LEASE_HELD":
            raise


def _stock(work: Compromise, paths: Sequence[Path]) -> ApprovedStock | None:
    if not paths:
        return None
    stock = work.stock()
    for path in paths:
        stock.add(read_copies(path))
    return stock


def freeze(
    context: typer.Context,
    directory: RegionDirectory,
    origin: Origin,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Let a log go on under a new key, and freeze the stolen one at the last good head."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=True) as region:
        theft = LogTheft(region=region)
        refresh(region)
        with audited(region, "FreezeLog", "logs"):
            if operation is None:
                theft.succeed(origin)
                wanted, end = theft.operation(origin)
                terminal.line("key.log_goes_on", style="green", origin=origin, size=end.size)
                _hand_out(terminal, out, wanted, end.to_json())
                return
            end = theft.freeze(origin, [read_operation(operation).signed()])
    terminal.line("key.frozen", style="green", origin=origin, size=end.size)


def break_log_key(
    context: typer.Context,
    directory: RegionDirectory,
    origin: Origin,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Declare a log's Ed25519 key broken: its post-quantum cosignatures count alone."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=operation is not None) as region:
        theft = LogTheft(region=region)
        if operation is None:
            _hand_out(terminal, out, theft.break_operation(origin), {})
            return
        refresh(region)
        with audited(region, "BreakLogKey", "logs"):
            theft.declare_broken(origin, [read_operation(operation).signed()])
    terminal.line("key.broken", style="green", origin=origin)


def replace_ca(
    context: typer.Context,
    directory: RegionDirectory,
    label: Annotated[str, typer.Argument(metavar="LABEL", show_default=False)],
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Put another issuing CA in a stolen one's place, and revoke the stolen one."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=True) as region:
        theft = CaTheft(region=region)
        refresh(region)
        with audited(region, "ReplaceCa", f"authorities/{label}"):
            theft.succeed(label)
            wanted = theft.operation(label)
            if wanted is not None and operation is None:
                _hand_out(terminal, out, *wanted)
                return
            theft.revoke(label, [] if operation is None else [read_operation(operation).signed()])
        ServerCertificate(region=region, directory=directory).ensure()
    terminal.line("key.ca_replaced", style="green", label=label)


def replace_root(
    context: typer.Context,
    directory: RegionDirectory,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Put another root CA in a stolen one's place; every issuing CA is certified anew."""
    terminal, source = _start(context, passphrase_file, offline_passphrase_file)
    with open_region(directory, source, offline=True) as region:
        theft = RootTheft(region=region)
        with audited(region, "ReplaceRoot", "authorities/root"):
            if operation is None:
                _hand_out(terminal, out, *theft.prepare())
                return
            refresh(region)
            theft.replace([read_operation(operation).signed()])
        ServerCertificate(region=region, directory=directory).ensure()
    terminal.line("key.ca_replaced", style="green", label="root")


# --- what is handed from hand to hand -------------------------------------------------


def read_operation(path: Path) -> OperationFile:
    """Read an operation that officers signed.

    Raises:
        ConfigurationError: It cannot be read (``OPERATION_FILE``).
        MalformedError: Not an operation file, or it shows something else than is signed.
    """
    try:
        with path.open("rb") as file:
            return OperationFile.parse(file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="OPERATION_FILE"
        ) from error


def hand_out(terminal: Terminal, path: Path, operation: Operation, outcome: Json) -> None:
    """Write an operation for officers to sign, and say how.

    Raises:
        ConfigurationError: It cannot be written, or is there already (``OPERATION_FILE``).
    """
    file = OperationFile(operation=operation, outcome=outcome)
    try:
        with path.open("xb") as out:
            out.write(file.to_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", reason="OPERATION_FILE"
        ) from error
    terminal.note("key.to_sign", style="", path=path, count=operation.persons)


def _hand_out(terminal: Terminal, out: Path | None, operation: Operation, outcome: Json) -> None:
    name = f"{operation.action.value}-{operation.nonce.hex()[:8]}.json"
    hand_out(terminal, out or Path(name), operation, outcome)


def _operation(region: Region, action: Action, target: str, outcome: Json) -> Operation:
    return new_operation(
        action,
        target,
        parameters_of(outcome),
        region=region.namespace.code,
        clock=region.clock,
        entropy=region.entropy,
    )


def _start(
    context: typer.Context, passphrase_file: Path | None, offline_file: Path | None
) -> tuple[Terminal, PassphraseSource]:
    terminal = terminal_of(context)
    return terminal, PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_file
    )


# --- the report ---------------------------------------------------------------------------


def report_json(proposal: Proposal, refused: Mapping[str, int]) -> dict[str, Json]:
    """Return what was found, for machines.

    Args:
        proposal: What is to be said of the key.
        refused: How many copies of approvals did not hold, by reason.
    """
    found = proposal.reconciliation
    report: dict[str, Json] = {"key": str(proposal.key), "record": proposal.record.to_json()}
    if found is not None:
        report["entries"] = found.entries
        report["compared"] = found.compared
        report["refused_copies"] = dict(refused)
        report["doubtful"] = [
            {"index": one.index, "doubt": one.doubt.value, "identifier": one.identifier}
            for one in found.doubtful
        ]
    return report


def _show(terminal: Terminal, proposal: Proposal, refused: Mapping[str, int]) -> None:
    found = proposal.reconciliation
    row: Callable[[str], str] = lambda name: terminal.text(f"key.report.{name}")  # noqa: E731
    members: list[tuple[str, object]] = [(row("key"), str(proposal.key))]
    if found is not None:
        pin = found.pin
        members += [
            (row("stop"), pin.n_stop),
            (row("entries"), found.entries),
            (row("safe"), pin.n_safe),
            (row("reattested"), found.reattested),
            (row("compared"), found.compared),
            (row("doubtful"), len(found.doubtful)),
        ]
    if refused:
        # They approve nothing: what rests on them is doubtful for that alone.
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        members.append((row("refused"), reasons))
    terminal.record(terminal.text("key.report.title"), members, style="yellow")
    for one in () if found is None else found.doubtful[:_SHOWN]:
        terminal.line(
            "key.doubtful",
            index=one.index,
            why=terminal.text(f"key.doubt.{one.doubt.value}"),
            identifier=one.identifier or "-",
        )
