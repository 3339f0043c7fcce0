"""Which roles may call which method, as one table.

Roles are looked up at every call, in the region's records; what a role may
see of a resource (an issuer: its own authority's) is narrowed by the servicer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yinxin_trust.access import Role


@dataclass(frozen=True, slots=True)
class Rule:
    """What a method asks of its caller."""

    roles: frozenset[Role]
    """Any one of these; empty: every principal of the region."""
    public: bool = False
    """Nothing personal is served: the purpose may be empty."""


def _only(*roles: Role) -> Rule:
    return Rule(frozenset(roles))


_PUBLIC: Final = Rule(frozenset(), public=True)
_ISSUER: Final = _only(Role.ISSUER)
_REGISTRAR: Final = _only(Role.REGISTRAR)
_VERIFIER: Final = _only(Role.VERIFIER)
_SECURITY: Final = _only(Role.SECURITY_ADMINISTRATOR)
_FILE: Final = _only(Role.ISSUER, Role.REGISTRAR)
_RECONCILE: Final = _only(Role.ISSUER, Role.AUDITOR)

RULES: Final[dict[str, Rule]] = {
    f"/yinxin.v1.{method}": rule
    for method, rule in {
        "CatalogueService/ListLicenceTypes": _PUBLIC,
        "CatalogueService/GetLicenceType": _PUBLIC,
        "CatalogueService/CreateLicenceType": _REGISTRAR,
        "SubjectService/RegisterSubject": _REGISTRAR,
        "SubjectService/GetSubject": _REGISTRAR,
        "SubjectService/LookupSubject": _REGISTRAR,
        "SubjectService/LinkIdentifier": _REGISTRAR,
        "IssuanceService/IssueLicence": _ISSUER,
        "IssuanceService/BatchIssueLicences": _ISSUER,
        "LicenceService/GetLicence": _only(Role.ISSUER, Role.REGISTRAR, Role.VERIFIER),
        "LicenceService/ListLicences": _FILE,
        "LicenceService/ListLicenceRevisions": _FILE,
        "LicenceService/ListLicenceEvents": _FILE,
        "LicenceService/ChangeLicenceStatus": _ISSUER,
        "StatusService/GetStatusList": _PUBLIC,
        "VerificationService/VerifyLicence": _VERIFIER,
        "VerificationService/BatchVerifyLicences": _VERIFIER,
        "LogService/GetCheckpoint": _PUBLIC,
        "LogService/GetTile": _PUBLIC,
        "LogService/GetReceipt": _PUBLIC,
        "LogService/GetConsistencyProof": _PUBLIC,
        "ApprovalService/GetApproval": _RECONCILE,
        "ApprovalService/ListApprovals": _RECONCILE,
        "RepositoryService/GetRepositoryFile": _PUBLIC,
        "RepositoryService/ExportPack": _PUBLIC,
        "AdministrationService/GetRegion": _PUBLIC,
        "AdministrationService/ListPrincipals": _only(Role.SECURITY_ADMINISTRATOR, Role.AUDITOR),
        "AdministrationService/CreatePrincipal": _SECURITY,
        "AdministrationService/AssignRole": _SECURITY,
        "AdministrationService/WithdrawRole": _SECURITY,
        # The servicer demands that the caller names itself.
        "AdministrationService/RenewCertificate": _PUBLIC,
        "AdministrationService/RevokeCertificates": _SECURITY,
        "AdministrationService/ListAuditRecords": _only(Role.AUDITOR),
        "AdministrationService/RunPreflight": _only(Role.SYSTEM_ADMINISTRATOR),
    }.items()
}
"""By full method name; a test holds it against the contracts."""
