"""TUF metadata as this project reads it.

The formats are those of The Update Framework 1.0 (python-tuf's
``tuf.api.metadata``), so that any TUF client can follow a region's trust
repository. Added here: strict bounded JSON, the one layout that we publish,
the time of issue in every document, and thresholds counted by key rather than
by key identifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Targets

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.repository_key import TufSigner, spki_of
from yinxin_proto.signature import Signer
from yinxin_proto.strict import Json, parse_json_object

ROOT: Final = "root"
TIMESTAMP: Final = "timestamp"
SNAPSHOT: Final = "snapshot"
TARGETS: Final = "targets"
"""The offline role that vouches for ``trust.json``."""
DELEGATED: Final = ("status", "crl", "catalogue")
"""Online roles, each for ``<role>/*`` alone and with a key of its own."""
TOP_LEVEL: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
ROLES: Final = (ROOT, TIMESTAMP, SNAPSHOT, TARGETS, *DELEGATED)

TRUST_LIST: Final = "trust.json"
METADATA_FOLDER: Final = "metadata/"
TARGETS_FOLDER: Final = "targets/"
ISSUED_AT: Final = "yinxin_issued_at"
"""Member that we add to every role: Unix seconds at which it was signed."""

MAX_ROOT_BYTES: Final = 64 << 10
MAX_METADATA_BYTES: Final = 1 << 20
MAX_TARGETS: Final = 8192
"""Targets of one role."""
MAX_TARGET_BYTES: Final = {
    TARGETS: 8 << 20,
    "status": 1 << 20,
    "crl": 8 << 20,
    "catalogue": 1 << 20,
}
"""Largest target by the role that vouches for it."""

# Flat names that every file system and URL takes as they are; no leading dot.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")

_S = TypeVar("_S", bound=Signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[_S]):
    """One role's metadata, parsed; not verified by that."""

    role: str
    data: bytes
    """The exact bytes, as snapshot and timestamp hash them."""
    signed: _S
    payload: bytes
    """What the signatures are over (OLPC canonical JSON of ``signed``)."""
    signatures: dict[str, Signature]
    issued_at: datetime


def metadata_path(role: str, version: int | None = None) -> str:
    """Return where a role's metadata lies; the timestamp alone has no version."""
    stem = role if version is None else f"{version}.{role}"
    return f"{METADATA_FOLDER}{stem}.json"


def target_path(path: str, digest: str) -> str:
    """Return where a target lies: ``targets/status/<sha256>.<name>``."""
    folder, slash, name = path.rpartition("/")
    return f"{TARGETS_FOLDER}{folder}{slash}{digest}.{name}"


def role_of(path: str) -> str:
    """Return the one role that may vouch for a target.

    Top-level names are flat and belong to the offline role; ``status/<name>``
    and its like belong to the role of that name, one level deep.

    Raises:
        MalformedError: ``TARGET_NAME``; not a name of this layout.
    """
    folder, slash, name = path.rpartition("/")
    role = folder if slash else TARGETS
    if _NAME.fullmatch(name) is None or (slash and folder not in DELEGATED):
        raise MalformedError("repository: not a target name of this layout", reason="TARGET_NAME")
    return role


def byte_limit(path: str) -> int:
    """Return how many bytes of a repository's file a reader may take in."""
    if path.startswith(METADATA_FOLDER):
        return MAX_ROOT_BYTES if path.endswith(".root.json") else MAX_METADATA_BYTES
    folder = path.removeprefix(TARGETS_FOLDER).rpartition("/")[0]
    return MAX_TARGET_BYTES.get(folder or TARGETS, 0)


def parse(role: str, kind: type[_S], data: bytes) -> Document[_S]:
    """Parse one role's metadata.

    Args:
        role: Name of the role, e.g. ``status``.
        kind: The TUF type that the role has; delegated roles are `Targets`.
        data: At most `MAX_ROOT_BYTES` or `MAX_METADATA_BYTES`.

    Raises:
        MalformedError: ``TUF_METADATA`` when it is not such metadata (a key
            identifier that signs twice included), ``ISSUED_AT`` without a time
            of issue before its expiry, ``TOO_LARGE``, or not strict JSON.
    """
    limit = MAX_ROOT_BYTES if role == ROOT else MAX_METADATA_BYTES
    metadata, payload = _envelope(role, parse_json_object(data, max_bytes=limit))
    signed = metadata.signed
    if not isinstance(signed, kind) or type(signed.version) is not int:
        raise MalformedError(f"{role}: metadata of another type", reason="TUF_METADATA")
    return Document(
        role=role,
        data=data,
        signed=signed,
        payload=payload,
        signatures=metadata.signatures,
        issued_at=_issued_at(role, signed),
    )


def _envelope(role: str, value: dict[str, Json]) -> tuple[Metadata[Any], bytes]:
    # python-tuf checks values by using them: what it raises on a wrong one is
    # whatever Python raises.
    try:
        metadata: Metadata[Any] = Metadata.from_dict(value)
        return metadata, metadata.signed_bytes
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RepositoryError,
        TypeError,
        ValueError,
    ) as error:
        raise MalformedError(f"{role}: not TUF metadata", reason="TUF_METADATA") from error


def _issued_at(role: str, signed: Signed) -> datetime:
    seconds = signed.unrecognized_fields.get(ISSUED_AT)
    if type(seconds) is not int or not 0 <= seconds < signed.expires.timestamp():
        raise MalformedError(
            f"{role}: {ISSUED_AT} is missing or not before the expiry", reason="ISSUED_AT"
        )
    return datetime.fromtimestamp(seconds, UTC)


def check_threshold(delegator: Root | Targets, document: Document[Any]) -> None:
    """Check that enough keys that the delegator names have signed.

    A key counts once, under however many identifiers it is listed, and only if
    it is of a suite that this project has a name for.

    Raises:
        VerificationError: ``THRESHOLD``.
    """
    try:
        result = delegator.get_verification_result(
            document.role, document.payload, document.signatures
        )
    except ValueError as error:
        raise VerificationError(
            f"{document.role}: delegated by nobody", reason="THRESHOLD"
        ) from error
    signers = {spki for key in result.signed.values() if (spki := spki_of(key)) is not None}
    if len(signers) < result.threshold:
        raise VerificationError(
            f"{document.role} {document.signed.version}: signed by {len(signers)} of the"
            f" {result.threshold} keys that {delegator.type} {delegator.version} demands",
            reason="THRESHOLD",
        )


def check_reference(meta: MetaFile, document_role: str, data: bytes) -> None:
    """Check bytes of metadata against the snapshot or timestamp that names them.

    Stricter than TUF: length and SHA-256 are required, so that no two states
    of a repository can be mixed.

    Raises:
        MalformedError: ``META_HASH`` when the reference lacks them.
        VerificationError: ``MIX_AND_MATCH``.
    """
    digest = (meta.hashes or {}).get("sha256")
    if digest is None or type(meta.length) is not int:
        raise MalformedError(
            f"{document_role}: referenced without length and SHA-256", reason="META_HASH"
        )
    if len(data) != meta.length or sha256(data).hexdigest() != digest:
        raise VerificationError(
            f"{document_role}: not the bytes that the state refers to", reason="MIX_AND_MATCH"
        )


def cosign(data: bytes, signer: Signer) -> bytes:
    """Add one signature to a document, keeping those that it has.

    k of n people sign one after the other, each where his key is.

    Raises:
        MalformedError: Not TUF metadata.
    """
    metadata, _ = _envelope("repository", parse_json_object(data, max_bytes=MAX_METADATA_BYTES))
    metadata.sign(TufSigner(signer), append=True)
    return metadata.to_bytes()
