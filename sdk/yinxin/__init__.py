"""What others install: the client of a region, the offline verifier, the command line.

::

    import yinxin

    verifier = yinxin.Verifier.open("pack.zip", pin="root.json")
    report = verifier.verify(Path("licence.json"))
    if report.indication is yinxin.Indication.TOTAL_PASSED:
        claims = report.require_passed()

    credentials = yinxin.Credentials.load("clients/market")
    with yinxin.connect("licences.example:8443", credentials=credentials) as client:
        licence = client.issue(request, context=yinxin.Context("食品经营许可核发"))
        licence.save("licences/")
"""

from importlib.metadata import version as _version

from yinxin.approval_csv import ApprovalRow, read_approvals
from yinxin.catalogue import LicenceType
from yinxin.client import Client, connect
from yinxin.context import Context
from yinxin.credentials import ApprovalKey, Credentials
from yinxin.issuance import RequestContent
from yinxin.licence import IssuedLicence, LicenceEvent, LicenceState, Operation
from yinxin.lifecycle import ChangeDetails
from yinxin.log import SignedStatusList
from yinxin.presentation import Presentation
from yinxin.subject import Subject, SubjectKind
from yinxin.verifier import Verifier
from yinxin_proto.error import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    FailedPreconditionError,
    IntegrityError,
    InternalError,
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
    NotFoundError,
    NotPassedError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    VerificationError,
    Violation,
    WrongPassphraseError,
    YinxinError,
)
from yinxin_proto.number import IdentifierType, SubjectNumber
from yinxin_proto.number import parse as parse_number
from yinxin_verifier.examination import Request
from yinxin_verifier.pack import Pinning
from yinxin_verifier.policy import OFFLINE, ONLINE, BindingRule, Policy, ReceiptRule
from yinxin_verifier.reason import Text
from yinxin_verifier.report import CheckResult, Indication, Outcome, Report, SubIndication

__version__ = _version("yinxin")

__all__ = [
    "OFFLINE",
    "ONLINE",
    "AlreadyExistsError",
    "ApprovalKey",
    "ApprovalRow",
    "BindingRule",
    "ChangeDetails",
    "CheckResult",
    "Client",
    "ConfigurationError",
    "ConflictError",
    "Context",
    "Credentials",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "IdentifierType",
    "Indication",
    "IntegrityError",
    "InternalError",
    "InvalidArgumentError",
    "IssuedLicence",
    "KeyStoreError",
    "LicenceEvent",
    "LicenceState",
    "LicenceType",
    "MalformedError",
    "NotFoundError",
    "NotPassedError",
    "Operation",
    "Outcome",
    "PermissionDeniedError",
    "Pinning",
    "Policy",
    "Presentation",
    "ReceiptRule",
    "Report",
    "Request",
    "RequestContent",
    "ResourceExhaustedError",
    "SignedStatusList",
    "SubIndication",
    "Subject",
    "SubjectKind",
    "SubjectNumber",
    "Text",
    "UnauthenticatedError",
    "UnavailableError",
    "VerificationError",
    "Verifier",
    "Violation",
    "WrongPassphraseError",
    "YinxinError",
    "__version__",
    "connect",
    "parse_number",
    "read_approvals",
]
