"""Credentials: who calls a region, and with which approval key an authority signs.

::

    client.crt       PEM, the certificate that names the caller
    client.key       PEM, its private key
    tls-anchor.crt   PEM, the CA that certifies the region's servers
    region.json      {region, domain, name, authority?, root?}
    approval.key     PEM, PKCS#8: an authority's own, perhaps under a passphrase
    approvals/       the authority's own copies of what it approved

The directory is made when a region enrols the caller. The approval key in it is
the authority's alone: the region knows its public half.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from yinxin.approvalarchive import FOLDER as APPROVALS
from yinxin.credentialsfile import (
    APPROVAL_KEY,
    CERTIFICATE,
    PRIVATE_KEY,
    REGION,
    TLS_ANCHOR,
    finish_renewal,
)
from yinxin.privatekeyfile import read_private_key
from yinxin_edge.libcrypto import choose_libcrypto
from yinxin_edge.tls import TlsIdentity
from yinxin_proto.error import (
    ConfigurationError,
    MalformedError,
    Violation,
    WrongPassphraseError,
    YinxinError,
)
from yinxin_proto.name import RegionCode, parse_region_code
from yinxin_proto.number import is_credit_code
from yinxin_proto.strict import Json, parse_json_object
from yinxin_proto.suite import Signer, load_private

MAX_FILE_BYTES: Final = 1 << 16

Passphrase = str | Callable[[], str] | None
"""A passphrase, or how to ask for it when it is needed."""

_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


class ApprovalKey:
    """An authority's approval key in a PEM file, opened when first used.

    Args:
        pem: PKCS#8, encrypted or not.
        passphrase: Of an encrypted one.
    """

    def __init__(self, pem: bytes, *, passphrase: Passphrase = None) -> None:
        self._pem = pem
        self._passphrase = passphrase
        self._opened: Signer | None = None

    def signer(self) -> Signer:
        """Return what signs with the key.

        Raises:
            WrongPassphraseError: The passphrase is missing
                (``PASSPHRASE_REQUIRED``) or does not open it.
            ConfigurationError: Not a private key of any suite (``APPROVAL_KEY``), or
                one of SM2 on a machine that cannot use it (``SM2_UNAVAILABLE``).
        """
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> Signer:
        passphrase = None
        if b"ENCRYPTED" in self._pem:
            passphrase = self._passphrase() if callable(self._passphrase) else self._passphrase
            if passphrase is None:
                raise WrongPassphraseError(
                    "the approval key is encrypted; give its passphrase",
                    reason="PASSPHRASE_REQUIRED",
                )
        try:
            return load_private(
                read_private_key(
                    self._pem, None if passphrase is None else passphrase.encode("utf-8")
                )
            )
        except MalformedError:
            # Not chained: a parser's text could quote what it read.
            if passphrase is not None:
                raise WrongPassphraseError(
                    "the passphrase does not open the approval key"
                ) from None
            raise ConfigurationError(
                f"{APPROVAL_KEY} is not a private key in PEM, of a suite that is known here",
                reason="APPROVAL_KEY",
            ) from None

    def __repr__(self) -> str:
        return "ApprovalKey(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls, which region, and what an authority approves with."""

    region: RegionCode
    """Code of the region, GB/T 2260."""
    domain: str
    """Its domain."""
    name: str = ""
    """Name of the department or system."""
    authority: str | None = None
    """Credit code of the issuing authority that the caller acts for."""
    identity: TlsIdentity | None = field(default=None, repr=False)
    """What the caller shows; None for a plain connection on loopback."""
    approval_key: ApprovalKey | None = field(default=None, repr=False)
    """The authority's approval key."""
    root: Path | None = None
    """File of the region's trust root, as it was handed over at enrolment."""
    approvals: Path | None = None
    """Folder for the authority's own copies of what it approved; None keeps none."""

    @classmethod
    def load(cls, directory: Path | str, *, passphrase: Passphrase = None) -> Self:
        """Read a directory of credentials.

        Args:
            directory: See this module.
            passphrase: Of the approval key; asked for only when it signs.

        Raises:
            ConfigurationError: ``CREDENTIALS``, with every file that is
                missing or unusable as a violation.
        """
        choose_libcrypto()
        folder = Path(directory)
        finish_renewal(folder)
        violations: list[Violation] = []
        members = _region_members(folder, violations)
        files = {
            name: _read(folder / name, violations)
            for name in (CERTIFICATE, PRIVATE_KEY, TLS_ANCHOR)
        }
        identity = None
        if all(data is not None for data in files.values()):
            try:
                identity = TlsIdentity(
                    private_key=files[PRIVATE_KEY] or b"",
                    certificate_chain=files[CERTIFICATE] or b"",
                    roots=files[TLS_ANCHOR] or b"",
                )
            except ConfigurationError as error:
                violations.append(Violation(str(folder), error.message, error.reason))
        if violations:
            raise ConfigurationError(
                "the credentials directory cannot be used",
                reason="CREDENTIALS",
                violations=violations,
            )
        approval = folder / APPROVAL_KEY
        pem = _read(approval, violations) if approval.exists() else None
        return cls(
            identity=identity,
            approval_key=None if pem is None else ApprovalKey(pem, passphrase=passphrase),
            approvals=folder / APPROVALS,
            **members,
        )


def _read(path: Path, violations: list[Violation]) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        # The system's own words: missing, or not allowed to read.
        violations.append(Violation(str(path), error.strerror or "cannot be read", "FILE"))
        return None
    if len(data) > MAX_FILE_BYTES:
        violations.append(Violation(str(path), "is larger than 64 KiB", "TOO_LARGE"))
        return None
    return data


def _region_members(folder: Path, violations: list[Violation]) -> dict[str, Json]:
    data = _read(folder / REGION, violations)
    if data is None:
        return {}
    path = str(folder / REGION)
    try:
        members = parse_json_object(data, max_bytes=MAX_FILE_BYTES)
        region = parse_region_code(str(members.get("region", "")))
    except YinxinError as error:
        violations.append(Violation(path, error.message, error.reason))
        return {}
    domain, name = members.get("domain"), members.get("name", "")
    authority, root = members.get("authority"), members.get("root")
    if not isinstance(domain, str) or _DOMAIN.fullmatch(domain) is None:
        violations.append(Violation(path, "domain is a domain name", "DOMAIN"))
    if authority is not None and not (isinstance(authority, str) and is_credit_code(authority)):
        violations.append(Violation(path, "authority is a credit code", "AUTHORITY"))
    if not isinstance(name, str) or not isinstance(root, str | None):
        violations.append(Violation(path, "name and root are texts", "MEMBER_TYPE"))
    return {
        "region": region,
        "domain": domain,
        "name": name,
        "authority": authority,
        "root": folder / root if isinstance(root, str) else None,
    }
