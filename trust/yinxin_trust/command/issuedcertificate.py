"""``yinxin certificate``: what this region's authorities signed, and taking it back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final

import typer
from cryptography import x509
from cryptography.x509.oid import NameOID

from yinxin_ca.authority import to_pem
from yinxin_ca.register import CertificateRecord
from yinxin_edge.terminal import Terminal
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import FailedPreconditionError, InvalidArgumentError, NotFoundError
from yinxin_trust.certification import ROOT
from yinxin_trust.command.console import audited
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.region import Region, file_registers
from yinxin_trust.revocation import (
    RevokedCertificate,
    find_certificate,
    find_in,
    publish_revocations,
    registers_in,
    registers_of,
    revoke_certificate,
    revoke_certificates_of_key,
)
from yinxin_trust.settings import load_settings

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

_Serial = Annotated[str, typer.Argument(metavar="SERIAL", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", show_default=False)]


@app.command("list")
def list_(
    context: typer.Context,
    directory: RegionDirectory,
    authority: Annotated[
        str | None, typer.Option("--authority", metavar="NAME", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", show_default=False)] = False,
    as_json: _Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """List the certificates of this region's authorities."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, passphrases) as region:
        now = region.clock.now()
        _check_authority(region, authority)
        found = [
            (name, record)
            for name, record in _records(region, authority)
            if everything or (record.revoked_at is None and _not_after(record) >= now)
        ]
    if as_json:
        terminal.json([dict(_members(terminal, *item, now, keys=True)) for item in found])
        return
    if not found:
        terminal.note("certificate.none")
        return
    columns = ("authority", "profile", "subject", "not_after", "state", "serial")
    rows = [
        (
            name,
            record.profile,
            _subject(record),
            f"{_not_after(record):%Y-%m-%d}",
            _state(terminal, record, now),
            f"{record.serial:x}",
        )
        for name, record in found
    ]
    terminal.table([terminal.text(f"certificate.{column}") for column in columns], rows)


@app.command("show")
def show(
    context: typer.Context,
    directory: RegionDirectory,
    serial: _Serial,
    pem: Annotated[bool, typer.Option("--pem", show_default=False)] = False,
    as_json: _Json = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show one certificate."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, passphrases) as region:
        name, record = find_certificate(region, _number(serial))
        now = region.clock.now()
    if pem:
        if record.der is None:
            raise NotFoundError(
                "the certificate was announced and never signed", reason="CERTIFICATE_NOT_FOUND"
            )
        terminal.plain(to_pem([record.der]).decode().rstrip())
    elif as_json:
        terminal.json(dict(_members(terminal, name, record, now, keys=True)))
    else:
        title = terminal.text("certificate.shown", serial=f"{record.serial:x}")
        terminal.record(title, _members(terminal, name, record, now))


@app.command("revoke")
def revoke(
    context: typer.Context,
    directory: RegionDirectory,
    serial: _Serial,
    reason: Annotated[RevocationReason, typer.Option("--reason", show_default=False)],
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Revoke a certificate, and publish it; of a compromised key, every certificate."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    number = _number(serial)
    load_settings(directory)
    registers = registers_in(file_registers(directory))
    _, record = find_in(registers, number)
    # The root's list takes the offline key: asked for before anything is recorded.
    rooted = any(
        other.spki == record.spki
        for label, register in registers.items()
        if label.partition("-")[0] == ROOT
        for other in register.records()
    )
    with (
        open_region(directory, passphrases, offline=rooted) as region,
        audited(region, "Certificate/Revoke", f"certificates/{number:x}", purpose=reason),
    ):
        also = _revoke(region, number, record.spki, reason)
    terminal.line(
        "certificate.was_revoked",
        style="green",
        serial=f"{number:x}",
        reason=terminal.text(f"certificate.reason.{reason}"),
    )
    if also:
        terminal.line("certificate.also", count=also)


def _revoke(region: Region, number: int, spki: bytes, reason: RevocationReason) -> int:
    """Revoke and publish; return how many more of the same key there were."""
    others: tuple[RevokedCertificate, ...] = ()
    already: FailedPreconditionError | None = None
    name, _ = find_certificate(region, number)
    try:
        revoke_certificate(region, number, reason)
    except FailedPreconditionError as error:
        already = error
    if reason is RevocationReason.KEY_COMPROMISE:
        others = revoke_certificates_of_key(registers_of(region), spki, reason, region.clock.now())
    # Even where it was revoked before: a call that was interrupted may have left the
    # key's other certificates, and no list that says so.
    publish_revocations(region, {name} | {other.authority for other in others})
    if already is not None and not others:
        raise already
    return len(others)


def _check_authority(region: Region, label: str | None) -> None:
    labels = registers_of(region)
    if label is not None and label not in labels:
        raise InvalidArgumentError(
            f"an authority is one of {', '.join(labels)}", reason="AUTHORITY"
        )


def _records(region: Region, authority: str | None) -> Iterator[tuple[str, CertificateRecord]]:
    for name, register in registers_of(region).items():
        if authority in (None, name):
            found = register.records()
            yield from ((name, record) for record in sorted(found, key=_not_after))


def _members(
    terminal: Terminal, name: str, record: CertificateRecord, now: datetime, *, keys: bool = False
) -> Iterator[tuple[str, str]]:
    read = record.read()
    members = {
        "authority": name,
        "profile": record.profile,
        "subject": _subject(record),
        "names": ", ".join((*read.dns_names, *read.uris)),
        "not_before": read.not_before.isoformat(),
        "not_after": read.not_after.isoformat(),
        "state": _state(terminal, record, now),
        "key": read.thumbprint.hex(),
        "crl": ", ".join(read.crl_urls),
        "serial": f"{record.serial:x}",
    }
    for key, value in members.items():
        if value:
            yield (key if keys else terminal.text(f"certificate.{key}")), value


def _state(terminal: Terminal, record: CertificateRecord, now: datetime) -> str:
    if record.reason is not None:
        reason = terminal.text(f"certificate.reason.{record.reason}")
        return terminal.text("certificate.revoked", reason=reason)
    if record.der is None:
        return terminal.text("certificate.announced")
    return terminal.text("certificate.expired" if _not_after(record) < now else "certificate.good")


def _not_after(record: CertificateRecord) -> datetime:
    return record.read().not_after


def _subject(record: CertificateRecord) -> str:
    """Return the common name, or the organisation's."""
    name = x509.load_der_x509_certificate(record.read().der).subject
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return name.rfc4514_string()


def _number(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise InvalidArgumentError(
            "a serial number is hexadecimal; see: yinxin certificate list", reason="SERIAL"
        ) from None
