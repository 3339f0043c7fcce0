"""Which plan each kind of key follows: one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from yinxin_ca.keystore import Purpose
from yinxin_trust.keystage import Step
from yinxin_trust.repositorykeys import DELEGATED_PURPOSES, TOP_LEVEL_PURPOSES
from yinxin_trust.rotation.issuingca import IssuingCaPlan, ServiceCaPlan
from yinxin_trust.rotation.logkey import LogKeyPlan
from yinxin_trust.rotation.plan import Bench, PlainPlan, Plan
from yinxin_trust.rotation.repositorykey import RepositoryKeyPlan, offline_steps
from yinxin_trust.rotation.secretkey import IndexKeyPlan, KeyEncryptionPlan
from yinxin_trust.rotation.serverkey import ServerKeyPlan
from yinxin_trust.rotation.trustkey import ApprovalKeyPlan, LicenceKeyPlan, StatusKeyPlan
from yinxin_trust.settings import RotationTable

_KINDS: Final[Mapping[Purpose, type[PlainPlan]]] = {
    Purpose.LICENCE: LicenceKeyPlan,
    Purpose.APPROVAL: ApprovalKeyPlan,
    Purpose.STATUS: StatusKeyPlan,
    Purpose.LOG: LogKeyPlan,
    Purpose.LICENCE_CA: IssuingCaPlan,
    Purpose.STATUS_CA: IssuingCaPlan,
    Purpose.TLS_CA: IssuingCaPlan,
    Purpose.SEAL_CA: ServiceCaPlan,
    Purpose.TIMESTAMP_CA: ServiceCaPlan,
    Purpose.MEMBER_CA: ServiceCaPlan,
    # Certified anew by whoever answers with them, once they are active.
    Purpose.OCSP: PlainPlan,
    Purpose.TLS_OCSP: PlainPlan,
    Purpose.TIMESTAMP: PlainPlan,
    Purpose.TLS_SERVER: ServerKeyPlan,
}
_ROLES: Final = (*sorted(TOP_LEVEL_PURPOSES), *sorted(DELEGATED_PURPOSES))


def takes_offline_keys(purpose: Purpose, step: Step) -> bool:
    """Tell whether a step needs the offline keys, before anything is opened."""
    if purpose in _ROLES:
        return step in offline_steps(purpose)
    kind = _KINDS.get(purpose)
    return kind is not None and step in kind.offline


def plans(bench: Bench, settings: RotationTable) -> Mapping[Purpose, Plan]:
    """Return the plan of every purpose that rotates."""
    return {
        **{purpose: kind(bench) for purpose, kind in _KINDS.items()},
        **{purpose: RepositoryKeyPlan(bench, purpose) for purpose in _ROLES},
        Purpose.KEK: KeyEncryptionPlan(bench, settings.settle),
        Purpose.INDEX_HMAC: IndexKeyPlan(bench, settings.settle),
    }
