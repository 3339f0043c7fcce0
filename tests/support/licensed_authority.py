"""A licensed authority outside the region, played by openssl: it knows nothing of our code.

It has a root and an issuing CA, signs what requests ask for, and, under SM2,
issues pairs: it makes the encryption key itself and sends it enveloped. It and
whom it certifies are invented.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from yinxin_ca import der
from yinxin_proto.sm2 import SM2
from yinxin_proto.suite import load_private

DISTID: Final = "distid:1234567812345678"
SIGNING: Final = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature,nonRepudiation",
    "extendedKeyUsage=1.3.6.1.5.5.7.3.36",
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid",
)
ENCRYPTION: Final = (
    "keyUsage=critical,keyEncipherment,dataEncipherment",
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid",
)
_AUTHORITY: Final = (
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid",
)


@dataclass
class LicensedAuthority:
    """Made in a folder of its own."""

    folder: Path
    curve: str = "P-256"

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in ("root", "issuing"):
            self.make_key(name)
            self.ask(name, f"/C=CN/O=Licensed/CN={name}")
        self._sign("root", "root", _AUTHORITY, signed_by=None, days=3650)
        self._sign("issuing", "issuing", _AUTHORITY, signed_by="root", days=3650)
        chain = [(self.folder / f"{name}.pem").read_text() for name in ("issuing", "root")]
        (self.folder / "chain.pem").write_text("".join(chain))

    @property
    def chain(self) -> Path:
        """Issuing CA and root, PEM."""
        return self.folder / "chain.pem"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root, as it publishes it."""
        return sha256(self.der("root")).hexdigest()

    def der(self, name: str) -> bytes:
        """A certificate in DER."""
        pem = (self.folder / f"{name}.pem").read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    def issue(
        self,
        name: str,
        request: Path,
        *,
        extensions: Sequence[str] = SIGNING,
        days: int = 365,
        subject: str | None = None,
    ) -> Path:
        """Certify what a request asks for, perhaps under another name."""
        (self.folder / f"{name}.csr").write_bytes(request.read_bytes())
        return self._sign(name, name, extensions, signed_by="issuing", days=days, subject=subject)

    def issue_encryption(self, name: str, subject: str) -> Path:
        """Make an encryption key, and certify it."""
        self.make_key(name)
        self.ask(name, subject)
        return self._sign(name, name, ENCRYPTION, signed_by="issuing", days=365)

    def envelope(self, name: str, recipient: Path) -> bytes:
        """Envelop an encryption key for the key of a certificate: DER SM2EnvelopedKey."""
        key = self.folder / "sm4.key"
        key.write_bytes(bytes(range(16)))
        spki = self.folder / "recipient.pem"
        self.run("x509", "-in", str(recipient), "-pubkey", "-noout", "-out", str(spki))
        wrapped = self.folder / "sm4.enc"
        words = ("-encrypt", "-pubin", "-inkey", str(spki), "-in", str(key), "-out", str(wrapped))
        self.run("pkeyutl", *words)
        pkcs8 = self.folder / "key.der"
        path = str(self.folder / f"{name}.key")
        self.run("pkcs8", "-topk8", "-nocrypt", "-in", path, "-outform", "DER", "-out", str(pkcs8))
        private = load_private(pkcs8.read_bytes())
        scalar = self.folder / "scalar"
        inner = private.to_pkcs8()
        place = inner.index(b"\x02\x01\x01\x04\x20") + 5
        scalar.write_bytes(inner[place : place + 32])
        sealed = self.folder / "scalar.enc"
        options = ("-e", "-K", key.read_bytes().hex(), "-nopad", "-in", str(scalar))
        self.run("enc", "-sm4-ecb", *options, "-out", str(sealed))
        public = SM2.load_public(private.public_key.spki).spki[-65:]
        return der.sequence(
            der.algorithm(x509.ObjectIdentifier("1.2.156.10197.1.104.1")),
            wrapped.read_bytes(),
            _bits(public),
            _bits(sealed.read_bytes()),
        )

    def crl(self) -> Path:
        """An empty revocation list of the issuing CA, DER."""
        index, number = self.folder / "index.txt", self.folder / "number"
        index.touch()
        if not number.exists():
            number.write_text("01\n")
        settings = self.folder / "crl.cnf"
        settings.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\ncrlnumber={number}\n"
            "default_md=sha256\ndefault_crl_days=30\ncrl_extensions=ext\n"
            "[ext]\nauthorityKeyIdentifier=keyid\n"
        )
        pem, out = self.folder / "crl.pem", self.folder / "crl.der"
        words = ["-cert", str(self.folder / "issuing.pem")]
        words += ["-keyfile", str(self.folder / "issuing.key")]
        self.run("ca", "-gencrl", "-config", str(settings), *words, "-out", str(pem))
        self.run("crl", "-in", str(pem), "-outform", "DER", "-out", str(out))
        return out

    def make_key(self, name: str) -> None:
        """Make a key under a name."""
        words = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{self.curve}")
        self.run("genpkey", *words, "-out", str(self.folder / f"{name}.key"))

    def ask(self, name: str, subject: str) -> None:
        """Write a request of its own."""
        words = ("-new", "-utf8", "-key", str(self.folder / f"{name}.key"), "-subj", subject)
        out = ("-out", str(self.folder / f"{name}.csr"))
        self.run("req", *words, *self._digest("-sigopt"), *out)

    def _sign(
        self,
        name: str,
        request: str,
        extensions: Sequence[str],
        *,
        signed_by: str | None,
        days: int,
        subject: str | None = None,
    ) -> Path:
        settings, out = self.folder / f"{name}.ext", self.folder / f"{name}.pem"
        settings.write_text("\n".join(extensions))
        words = ["-req", "-in", str(self.folder / f"{request}.csr"), "-days", str(days)]
        words += ["-extfile", str(settings), "-out", str(out), *self._digest("-sigopt")]
        if self.curve == "SM2":
            words += ["-vfyopt", DISTID]
        if signed_by is None:
            words += ["-signkey", str(self.folder / f"{name}.key")]
        else:
            words += ["-CA", str(self.folder / f"{signed_by}.pem"), "-CAcreateserial"]
            words += ["-CAkey", str(self.folder / f"{signed_by}.key")]
        if subject is not None:
            words += ["-subj", subject]
        self.run("x509", *words)
        return out

    def _digest(self, option: str) -> tuple[str, ...]:
        return ("-sm3", option, DISTID) if self.curve == "SM2" else ("-sha256",)

    def run(self, *words: str) -> None:
        """Run openssl."""
        done = subprocess.run(
            ["openssl", *words], capture_output=True, text=True, check=False, cwd=self.folder
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"


def _bits(content: bytes) -> bytes:
    """A BIT STRING of fewer than 127 whole bytes."""
    return bytes([0x03, len(content) + 1, 0]) + content
