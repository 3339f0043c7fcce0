"""``yinxin certificate``: a licensed authority outside, in place of the region's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from yinxin_ca.authority import to_pem
from yinxin_ca.externalca import ExternalAuthority
from yinxin_ca.keystore import KeyRef
from yinxin_ca.request import request_pem
from yinxin_proto.error import ConfigurationError, InvalidArgumentError
from yinxin_trust.command.console import audited
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.diagnosis import show_moment
from yinxin_trust.externalauthority import ENCRYPTION, ExternalCertificates, Pair

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

_MAX_BYTES: Final = 1 << 17
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")

_Key = Annotated[str, typer.Argument(metavar="KEY", show_default=False)]


@app.command("pin")
def pin(
    context: typer.Context,
    directory: RegionDirectory,
    chain: Annotated[Path, typer.Argument(metavar="CHAIN", show_default=False)],
    fingerprint: Annotated[str, typer.Option("--fingerprint", metavar="HEX", show_default=False)],
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Accept a licensed authority; needs the offline keys."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    expected = _fingerprint(fingerprint)
    with (
        open_region(directory, passphrases, offline=True) as region,
        audited(region, "PinExternalAuthority", "externalAuthorities"),
    ):
        authority = ExternalAuthority(chain=_certificates(chain), fingerprint=expected)
        with region.storage.write() as conn:
            ExternalCertificates(registrar=region.registrar).pin(conn, authority)
    terminal.record(
        terminal.text("external.pinned", name=_name(authority.chain[0])),
        [(terminal.text("external.fingerprint"), expected.hex())],
        style="green",
    )


@app.command("unpin")
def unpin(
    context: typer.Context,
    directory: RegionDirectory,
    fingerprint: Annotated[str, typer.Option("--fingerprint", metavar="HEX", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take nothing new from a licensed authority; what it certified stands."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    known = _fingerprint(fingerprint)
    with (
        open_region(directory, passphrases) as region,
        audited(region, "UnpinExternalAuthority", "externalAuthorities"),
        region.storage.write() as conn,
    ):
        ExternalCertificates(registrar=region.registrar).close(conn, known)
    terminal.line("external.unpinned")


@app.command("request")
def request(
    context: typer.Context,
    directory: RegionDirectory,
    key: _Key,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write a request for a key."""
    terminal = terminal_of(context)
    ref = KeyRef.parse(key)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with (
        open_region(directory, passphrases) as region,
        audited(region, "RequestCertificate", f"keys/{ref}"),
        region.storage.read() as conn,
    ):
        pem = request_pem(ExternalCertificates(registrar=region.registrar).request(conn, ref))
    if out is None:
        terminal.plain(pem.decode("ascii").rstrip())
        return
    _write(out, pem)
    terminal.record(
        terminal.text("external.requested", path=out),
        [(terminal.text("external.key"), ref)],
        style="green",
    )


@app.command("install")
def install(
    context: typer.Context,
    directory: RegionDirectory,
    key: _Key,
    certificate_file: Annotated[Path, typer.Argument(metavar="CERTIFICATE", show_default=False)],
    encryption: Annotated[
        Path | None, typer.Option("--encryption", metavar="FILE", show_default=False)
    ] = None,
    envelope: Annotated[
        Path | None, typer.Option("--envelope", metavar="FILE", show_default=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Install what an authority outside issued for a key."""
    terminal = terminal_of(context)
    ref = KeyRef.parse(key)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with (
        open_region(directory, passphrases) as region,
        audited(region, "InstallCertificate", f"keys/{ref}"),
    ):
        pair = _pair(encryption, envelope)
        leaf = _certificates(certificate_file)[0]
        with region.storage.write() as conn:
            found = ExternalCertificates(registrar=region.registrar).install(
                conn, ref, leaf, pair=pair
            )
    members = [
        (terminal.text("external.key"), str(ref)),
        (terminal.text("external.subject"), _name(found.der)),
        (terminal.text("external.issuer"), _name(found.der, issuer=True)),
        (terminal.text("external.until"), show_moment(found.not_after)),
    ]
    if pair is not None:
        other = KeyRef(ref.owner, ENCRYPTION[ref.purpose], ref.version)
        members.append((terminal.text("external.pair"), str(other)))
    terminal.record(terminal.text("external.installed"), members, style="green")


@app.command("cross")
def cross(
    context: typer.Context,
    directory: RegionDirectory,
    ca: Annotated[Path, typer.Argument(metavar="CA", show_default=False)],
    request_file: Annotated[Path, typer.Option("--request", metavar="CSR", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Certify another licence CA under our root; needs the offline keys."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with (
        open_region(directory, passphrases, offline=True) as region,
        audited(region, "CrossCertify", "externalAuthorities"),
    ):
        first, asked = _certificates(ca)[0], _request(_read(request_file))
        with region.storage.read() as conn:
            made = ExternalCertificates(registrar=region.registrar).cross(conn, first, asked)
    pem = to_pem([made])
    if out is None:
        terminal.plain(pem.decode("ascii").rstrip())
        return
    _write(out, pem)
    terminal.record(
        terminal.text("external.crossed", path=out),
        [(terminal.text("external.subject"), _name(made))],
        style="green",
    )


@app.command("crl")
def crl(
    context: typer.Context,
    directory: RegionDirectory,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take in the revocation list of an authority outside."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with (
        open_region(directory, passphrases) as region,
        audited(region, "ImportRevocationList", "externalAuthorities"),
        region.storage.write() as conn,
    ):
        ExternalCertificates(registrar=region.registrar).put_crl(conn, _crl(_read(file)))
    terminal.line("external.crl")


def _fingerprint(text: str) -> bytes:
    plain = text.replace(":", "").replace(" ", "").lower()
    if _FINGERPRINT.fullmatch(plain) is None:
        raise InvalidArgumentError(
            "a fingerprint is 64 hexadecimal digits: SHA-256", reason="ANCHOR_FINGERPRINT"
        )
    return bytes.fromhex(plain)


def _pair(encryption: Path | None, envelope: Path | None) -> Pair | None:
    if encryption is None and envelope is None:
        return None
    if encryption is None or envelope is None:
        raise InvalidArgumentError(
            "an encryption certificate and its envelope come together; give both",
            reason="CERTIFICATE_PAIR",
        )
    return Pair(certificate=_certificates(encryption)[0], envelope=_read(envelope))


def _certificates(path: Path) -> tuple[bytes, ...]:
    content = _read(path)
    try:
        if b"-----BEGIN" in content:
            listed = x509.load_pem_x509_certificates(content)
        else:
            listed = [x509.load_der_x509_certificate(content)]
    except ValueError:
        raise ConfigurationError(
            f"{path} holds no certificate in PEM or DER", reason="CERTIFICATE_FILE"
        ) from None
    return tuple(found.public_bytes(Encoding.DER) for found in listed)


def _request(content: bytes) -> bytes:
    if b"-----BEGIN" not in content:
        return content
    try:
        return x509.load_pem_x509_csr(content).public_bytes(Encoding.DER)
    except ValueError:
        raise ConfigurationError(
            "the file holds no certificate request in PEM or DER", reason="CERTIFICATE_FILE"
        ) from None


def _crl(content: bytes) -> bytes:
    if b"-----BEGIN" not in content:
        return content
    try:
        return x509.load_pem_x509_crl(content).public_bytes(Encoding.DER)
    except ValueError:
        raise ConfigurationError(
            "the file holds no revocation list in PEM or DER", reason="CERTIFICATE_FILE"
        ) from None


def _name(der: bytes, *, issuer: bool = False) -> str:
    found = x509.load_der_x509_certificate(der)
    return (found.issuer if issuer else found.subject).rfc4514_string()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="CERTIFICATE_FILE"
        ) from error
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"{path} is larger than 128 KiB", reason="CERTIFICATE_FILE")
    return content


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", reason="CERTIFICATE_FILE"
        ) from error
