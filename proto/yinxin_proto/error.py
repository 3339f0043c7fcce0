"""The one error tree.

A licence that fails is a *result* (a report); an exception means that the
question could not be asked, or that a low-level check said no.

::

    YinxinError
    ├── MalformedError             bytes that do not parse, or exceed a bound
    ├── VerificationError          a signature, digest or proof that does not hold
    ├── InvalidArgumentError       a request that names unacceptable fields
    ├── NotFoundError              nothing of that name here
    ├── AlreadyExistsError         a name or number that is taken
    ├── ConflictError              the same request_id with another body; a stale etag
    ├── FailedPreconditionError    a state that does not allow the operation
    ├── UnauthenticatedError       no acceptable certificate
    ├── PermissionDeniedError      a principal without the role, scope or approval
    ├── ResourceExhaustedError     a bound on size, rate or storage was reached
    ├── UnavailableError           try again: locked, stopping, unreachable
    ├── DeadlineExceededError      the caller's deadline passed
    ├── IntegrityError             stored data that contradicts itself
    ├── KeyStoreError              a key that cannot be had
    │   └── WrongPassphraseError   the passphrase does not open the store
    ├── ConfigurationError         a setting that cannot be used
    ├── NotPassedError             claims asked of a report that did not pass
    └── InternalError              a fault of ours; the details are in the journal

Every class has a stable ``code``; every raise may add a narrower, equally
stable ``reason``. No message may contain a subject's number or name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One unacceptable field of a request, as in google.rpc.BadRequest."""

    field: str
    """Path of the field, e.g. ``holders[1].number``."""
    description: str
    """What is wrong and what would be accepted; never the value itself."""
    reason: str = "INVALID"
    """Stable code of the rule that was broken."""


class YinxinError(Exception):
    """Root of every error that this project raises on purpose.

    Args:
        message: What was wrong, where, and what to do.
        reason: Stable code, narrower than ``code``; ``code`` when omitted.
        violations: Every unacceptable field at once.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self, message: str, *, reason: str | None = None, violations: Sequence[Violation] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason if reason is not None else self.code
        self.violations = tuple(violations)

    def __str__(self) -> str:
        if not self.violations:
            return self.message
        listed = "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        return f"{self.message} ({listed})"


class MalformedError(YinxinError):
    """Bytes that do not parse, or that exceed a stated bound."""

    code = "MALFORMED"


class VerificationError(YinxinError):
    """A signature, digest or proof that does not hold."""

    code = "VERIFICATION_FAILED"


class InvalidArgumentError(YinxinError):
    """A well-formed request whose fields are unacceptable."""

    code = "INVALID_ARGUMENT"


class NotFoundError(YinxinError):
    """Nothing of that name exists here, or the caller may not know of it."""

    code = "NOT_FOUND"


class AlreadyExistsError(YinxinError):
    """A name or number that is already taken."""

    code = "ALREADY_EXISTS"


class ConflictError(YinxinError):
    """The same ``request_id`` with another body, or a stale etag."""

    code = "CONFLICT"


class FailedPreconditionError(YinxinError):
    """The object's present state does not allow the operation."""

    code = "FAILED_PRECONDITION"


class UnauthenticatedError(YinxinError):
    """No acceptable certificate was presented."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(YinxinError):
    """The principal lacks the role, the scope or the approval."""

    code = "PERMISSION_DENIED"


class ResourceExhaustedError(YinxinError):
    """A bound on size, rate or storage was reached."""

    code = "RESOURCE_EXHAUSTED"


class UnavailableError(YinxinError):
    """A passing condition; the same call may succeed later."""

    code = "UNAVAILABLE"


class DeadlineExceededError(YinxinError):
    """The caller's deadline passed before the work was done."""

    code = "DEADLINE_EXCEEDED"


class IntegrityError(YinxinError):
    """Stored data that contradicts itself; serving on would make it worse."""

    code = "INTEGRITY"


class KeyStoreError(YinxinError):
    """A key that cannot be had, or a store that cannot be read."""

    code = "KEY_STORE"


class WrongPassphraseError(KeyStoreError):
    """The passphrase does not open the key store."""

    code = "WRONG_PASSPHRASE"


class ConfigurationError(YinxinError):
    """A setting that cannot be used; names the setting and what would do."""

    code = "CONFIGURATION"


class NotPassedError(YinxinError):
    """Claims were asked of a report that did not pass."""

    code = "NOT_PASSED"


class InternalError(YinxinError):
    """A fault of ours; the caller learns a reference, the journal the details."""

    code = "INTERNAL"
