"""The directory of a signer that runs on a machine of its own.

::

    signer.toml        listening address, names, callers, [keys] as in region.toml
    keys/              encrypted files: its TLS keys, and keys that are in no device
    tls/               its own TLS anchor and server certificate
    registers/         what its TLS anchor certified
    journal.jsonl      what it signed, for whom

Its TLS anchor is its own: a region's TLS authority may be among the keys that
it keeps, and whoever steals that one must not be able to call the signer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from yinxin_ca.authority import CertificateAuthority, create_root, to_pem
from yinxin_ca.journal import FileRegister
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.profile import TLS_CA, TLS_CLIENT, TLS_SERVER
from yinxin_ca.signer_journal import SignerJournal
from yinxin_ca.signer_service import OWN, Caller
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_edge.config import load, load_file
from yinxin_edge.tls import TlsIdentity
from yinxin_proto import pem
from yinxin_proto.certificate import parse
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import AlreadyExistsError, ConfigurationError, InvalidArgumentError
from yinxin_proto.suite import ES256
from yinxin_trust.keysettings import KeysTable
from yinxin_trust.keystores import KEYS, StoreMaker
from yinxin_trust.settings import keys_lines, toml_text

FILE: Final = "signer.toml"
JOURNAL: Final = "journal.jsonl"
_TLS: Final = "tls"
_REGISTERS: Final = "registers"
_ANCHOR: Final = "anchor.crt"
_SERVER: Final = "server.crt"
_RENEW_BEFORE: Final = timedelta(days=60)
_ANCHOR_REF: Final = KeyRef(OWN, Purpose.TLS_CA)
_SERVER_REF: Final = KeyRef(OWN, Purpose.TLS_SERVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerTable:
    """``[signer]``."""

    domain: str
    """Names the signer in its callers' certificates."""
    name: str = "Signer"
    listen: str = "127.0.0.1:9443"
    """``host:port``; port 0 takes a free one."""
    names: tuple[str, ...] = ("localhost",)
    """DNS names in its certificate."""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    """IP addresses in its certificate."""
    threads: int = 32
    """Calls in progress at once."""

    def __post_init__(self) -> None:
        try:
            principal_uri(self.domain, OWN)
        except InvalidArgumentError as error:
            # It would stand in every caller's certificate.
            raise ConfigurationError(f"domain: {error.message}", reason="DOMAIN") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTable:
    """``[[client]]``: one caller; taking the table out turns it away at the next start."""

    id: str
    certificate: str
    """SHA-256 of its certificate, in hexadecimal."""
    purposes: tuple[Purpose, ...]
    may_manage: bool = False
    """Whether it may make and destroy keys, beside signing."""

    def __post_init__(self) -> None:
        try:
            sound = len(bytes.fromhex(self.certificate)) == sha256().digest_size
        except ValueError:
            sound = False
        if not sound:
            raise ConfigurationError("certificate: 64 hexadecimal digits", reason="CERTIFICATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """All of ``signer.toml``."""

    signer: SignerTable
    client: tuple[ClientTable, ...] = ()
    keys: KeysTable = field(default_factory=KeysTable)

    def __post_init__(self) -> None:
        if self.keys.remote.purposes:
            raise ConfigurationError("a signer asks no other signer", reason="REMOTE")
        names = [client.id for client in self.client]
        if len(set(names)) != len(names):
            raise ConfigurationError("client: each id once", reason="CLIENT_TWICE")

    def callers(self) -> dict[str, Caller]:
        """Return who may call, by the name in its certificate."""
        return {
            client.id: Caller(
                certificate_hash=bytes.fromhex(client.certificate),
                purposes=frozenset(client.purposes),
                may_manage=client.may_manage,
            )
            for client in self.client
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerHouse:
    """An opened directory."""

    directory: Path
    settings: SignerSettings
    files: KeyStore
    """The encrypted files alone."""
    store: KeyStore
    """Every key it keeps."""
    clock: Clock
    entropy: Entropy

    @classmethod
    def create(
        cls,
        directory: Path,
        settings: SignerSettings,
        *,
        passphrase: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Make the directory of a new signer.

        Raises:
            AlreadyExistsError: It is there already (``DIRECTORY_IN_USE``).
            ConfigurationError: It cannot be made (``DIRECTORY``).
        """
        with ExitStack() as undo:
            try:
                directory.mkdir(mode=0o700, parents=True)
                undo.callback(shutil.rmtree, directory, ignore_errors=True)
                for name in (_TLS, _REGISTERS):
                    (directory / name).mkdir(mode=0o700)
                (directory / FILE).touch(mode=0o600)
                (directory / FILE).write_text(_settings_text(settings), encoding="utf-8")
            except FileExistsError as error:
                raise AlreadyExistsError(
                    f"{directory} is there already; name a new one", reason="DIRECTORY_IN_USE"
                ) from error
            except OSError as error:
                raise ConfigurationError(
                    f"cannot make {directory}: {error.strerror}", reason="DIRECTORY"
                ) from error
            files = create_key_store(
                directory / KEYS, passphrase=passphrase, clock=clock, entropy=entropy
            )
            for ref in (_ANCHOR_REF, _SERVER_REF):
                files.generate(ref, ES256)
            house = cls(
                directory=directory,
                settings=settings,
                files=files,
                store=files,
                clock=clock,
                entropy=entropy,
            )
            house._make_anchor()
            undo.pop_all()

    @classmethod
    def open(cls, directory: Path, *, passphrase: str, clock: Clock, entropy: Entropy) -> Self:
        """Open it.

        Raises:
            ConfigurationError: Not a signer's directory (``NOT_A_SIGNER``), or
                settings that cannot be used.
            YinxinError: A store cannot be opened, each with its own reason.
        """
        settings = load_signer(directory)
        files = open_key_store(
            directory / KEYS, passphrase=passphrase, clock=clock, entropy=entropy
        )
        maker = StoreMaker(directory=directory, clock=clock, entropy=entropy)
        return cls(
            directory=directory,
            settings=settings,
            files=files,
            store=maker.online(settings.keys, files),
            clock=clock,
            entropy=entropy,
        )

    @property
    def anchor(self) -> bytes:
        """The DER certificate of its TLS anchor."""
        return pem.decode(self._read(_ANCHOR))[1]

    def journal(self) -> SignerJournal:
        """Open its journal; see `SignerJournal`."""
        return SignerJournal(self.directory / JOURNAL, clock=self.clock)

    def identity(self) -> TlsIdentity:
        """Return what it shows; its certificate is issued anew when it ends soon."""
        path = self.directory / _TLS / _SERVER
        if not path.exists() or self._ends_soon():
            draft = path.with_suffix(".new")
            draft.write_bytes(to_pem(self._certify_server()))
            draft.replace(path)
        key = ES256.load_private(self.files.export(_SERVER_REF))
        return TlsIdentity(
            private_key=pem.encode(pem.PRIVATE_KEY, key.to_pkcs8()),
            certificate_chain=self._read(_SERVER),
            roots=self._read(_ANCHOR),
        )

    def enrol(
        self, client_id: str, *, purposes: tuple[Purpose, ...], may_manage: bool, folder: Path
    ) -> None:
        """Certify a caller, pin it in ``signer.toml``, and write its folder.

        Raises:
            AlreadyExistsError: The caller is known (``CLIENT_EXISTS``), or the
                folder is there (``FOLDER_IN_USE``).
            InvalidArgumentError: A name that no certificate carries.
        """
        if any(client.id == client_id for client in self.settings.client):
            raise AlreadyExistsError(
                f"the signer has a client {client_id} already; take it out of {FILE} first",
                reason="CLIENT_EXISTS",
            )
        key = ES256.generate()
        names = AlternativeNames(uri=principal_uri(self.settings.signer.domain, client_id))
        with self._authority() as authority:
            certificate = authority.issue(
                TLS_CLIENT,
                subject=Subject(organisation=self.settings.signer.name, common_name=client_id),
                public_key=key.public_key,
                names=names,
            )
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError as error:
            raise AlreadyExistsError(
                f"{folder} is there already; name another folder", reason="FOLDER_IN_USE"
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"cannot make {folder}: {error.strerror}", reason="FOLDER"
            ) from error
        private = folder / "client.key"
        private.touch(mode=0o600)
        private.write_bytes(pem.encode(pem.PRIVATE_KEY, key.to_pkcs8()))
        (folder / "client.crt").write_bytes(to_pem([certificate]))
        (folder / "tls-anchor.crt").write_bytes(self._read(_ANCHOR))
        table = ClientTable(
            id=client_id,
            certificate=sha256(certificate).hexdigest(),
            purposes=purposes,
            may_manage=may_manage,
        )
        self._append_client(table)

    def _append_client(self, table: ClientTable) -> None:
        path = self.directory / FILE
        text = path.read_text(encoding="utf-8") + "\n".join(_client_lines(table))
        load(SignerSettings, text)
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)

    def _make_anchor(self) -> None:
        """Certify the anchor by a root whose key lives for this one signature."""
        name = self.settings.signer.name
        with self._register() as register:
            root = create_root(
                subject=Subject(organisation=name, common_name="Signer root"),
                signer=ES256.generate(),
                register=register,
                clock=self.clock,
                entropy=self.entropy,
            )
            anchor = root.issue(
                TLS_CA,
                subject=Subject(organisation=name, common_name="Signer TLS anchor"),
                public_key=self.files.signer(_ANCHOR_REF).public_key,
            )
        (self.directory / _TLS / _ANCHOR).write_bytes(to_pem([anchor]))

    def _certify_server(self) -> tuple[bytes, ...]:
        table = self.settings.signer
        with self._authority() as authority:
            return (
                authority.issue(
                    TLS_SERVER,
                    subject=Subject(organisation=table.name, common_name="Signer"),
                    public_key=self.files.signer(_SERVER_REF).public_key,
                    names=AlternativeNames(dns=table.names, addresses=table.addresses),
                ),
            )

    def _ends_soon(self) -> bool:
        _, der = pem.decode(self._read(_SERVER))
        return parse(der).not_after - self.clock.now() < _RENEW_BEFORE

    @contextmanager
    def _register(self) -> Iterator[FileRegister]:
        register = FileRegister(self.directory / _REGISTERS / "tls.jsonl")
        try:
            yield register
        finally:
            register.close()

    @contextmanager
    def _authority(self) -> Iterator[CertificateAuthority]:
        with self._register() as register:
            yield CertificateAuthority(
                certificate=self.anchor,
                signer=self.files.signer(_ANCHOR_REF),
                register=register,
                clock=self.clock,
                entropy=self.entropy,
            )

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / _TLS / name).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {name} of the signer: {error.strerror}", reason="TLS_FILE"
            ) from error


def load_signer(directory: Path) -> SignerSettings:
    """Read a signer's settings.

    Raises:
        ConfigurationError: Not a signer's directory (``NOT_A_SIGNER``), or
            settings that cannot be used, all at once.
    """
    path = directory / FILE
    if not path.is_file():
        raise ConfigurationError(
            f"{directory} is not a signer's directory: it has no {FILE}; make one with: "
            "yinxin signer init",
            reason="NOT_A_SIGNER",
        )
    return load_file(SignerSettings, path)


def _settings_text(settings: SignerSettings) -> str:
    table = settings.signer
    lines = ["[signer]", f"domain = {toml_text(table.domain)}", f"name = {toml_text(table.name)}"]
    lines += [f"listen = {toml_text(table.listen)}"]
    lines += [f"names = [{', '.join(map(toml_text, table.names))}]"]
    lines += [f"addresses = [{', '.join(map(toml_text, table.addresses))}]"]
    lines += [f"threads = {table.threads}", "", *keys_lines(settings.keys)]
    for client in settings.client:
        lines += _client_lines(client)
    return "\n".join(lines) + "\n"


def _client_lines(table: ClientTable) -> list[str]:
    purposes = ", ".join(toml_text(str(purpose)) for purpose in table.purposes)
    return [
        "[[client]]",
        f"id = {toml_text(table.id)}",
        f"certificate = {toml_text(table.certificate)}",
        f"purposes = [{purposes}]",
        f"may_manage = {str(table.may_manage).lower()}",
        "",
    ]
