"""Every contract of a region, ready to be served."""

from __future__ import annotations

from typing import Final

from yinxin_edge.interceptor import CallLimits
from yinxin_edge.server import Service
from yinxin_proto.v1 import (
    administration_pb2,
    administration_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    catalogue_pb2,
    catalogue_pb2_grpc,
    issuance_pb2,
    issuance_pb2_grpc,
    licence_pb2,
    licence_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    repository_pb2,
    repository_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
    subject_pb2,
    subject_pb2_grpc,
    verification_pb2,
    verification_pb2_grpc,
)
from yinxin_trust.refresh import Refresher
from yinxin_trust.region import Region
from yinxin_trust.service.administration import AdministrationServicer
from yinxin_trust.service.admission import Admission
from yinxin_trust.service.approval import ApprovalServicer
from yinxin_trust.service.catalogue import CatalogueServicer
from yinxin_trust.service.issuance import IssuanceServicer
from yinxin_trust.service.licence import LicenceServicer
from yinxin_trust.service.log import LogServicer
from yinxin_trust.service.once import Once
from yinxin_trust.service.repository import RepositoryServicer
from yinxin_trust.service.status import StatusServicer
from yinxin_trust.service.subject import SubjectServicer
from yinxin_trust.service.verification import VerificationServicer
from yinxin_trust.status import StatusSigner
from yinxin_trust.verification import OnlineVerifier

_BATCH_BYTES: Final = 16 << 20
_PRESENTATION_BYTES: Final = (1 << 20) + (64 << 10)
CALL_LIMITS: Final = CallLimits(
    max_request_bytes=512 << 10,
    max_request_bytes_of={
        "/yinxin.v1.IssuanceService/BatchIssueLicences": _BATCH_BYTES,
        "/yinxin.v1.VerificationService/VerifyLicence": _PRESENTATION_BYTES,
        "/yinxin.v1.VerificationService/BatchVerifyLicences": _BATCH_BYTES,
    },
)
"""Bounds of the contracts' calls, for the server that serves them."""


def services(region: Region) -> list[Service]:
    """Return every contract over an opened region, for one process."""
    admission = Admission(
        storage=region.storage,
        directory=region.directory,
        audit=region.audit,
        committer=region.committer,
        namespace=region.namespace,
    )
    once = Once(
        storage=region.storage,
        admission=admission,
        keys=lambda: region.vault.derive("request-body"),
        clock=region.clock,
    )
    return [
        *_reading(region, admission),
        *_writing(region, admission, once),
    ]


def _reading(region: Region, admission: Admission) -> list[Service]:
    verifier = OnlineVerifier(
        storage=region.storage,
        holding=region.holding,
        statuses=StatusSigner(keyring=region.keyring, clock=region.clock),
        clock=region.clock,
    )
    return [
        Service(
            descriptor=status_pb2.DESCRIPTOR.services_by_name["StatusService"],
            servicer=StatusServicer(admission=admission, storage=region.storage),
            register=status_pb2_grpc.add_StatusServiceServicer_to_server,
        ),
        Service(
            descriptor=verification_pb2.DESCRIPTOR.services_by_name["VerificationService"],
            servicer=VerificationServicer(
                admission=admission, verifier=verifier, namespace=region.namespace
            ),
            register=verification_pb2_grpc.add_VerificationServiceServicer_to_server,
        ),
        Service(
            descriptor=log_pb2.DESCRIPTOR.services_by_name["LogService"],
            servicer=LogServicer(
                admission=admission, storage=region.storage, namespace=region.namespace
            ),
            register=log_pb2_grpc.add_LogServiceServicer_to_server,
        ),
        Service(
            descriptor=approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
            servicer=ApprovalServicer(
                admission=admission,
                storage=region.storage,
                pages=region.pages,
                namespace=region.namespace,
            ),
            register=approval_pb2_grpc.add_ApprovalServiceServicer_to_server,
        ),
        Service(
            descriptor=repository_pb2.DESCRIPTOR.services_by_name["RepositoryService"],
            servicer=RepositoryServicer(
                admission=admission,
                storage=region.storage,
                refresher=Refresher.of(region),
                clock=region.clock,
            ),
            register=repository_pb2_grpc.add_RepositoryServiceServicer_to_server,
        ),
    ]


def _writing(region: Region, admission: Admission, once: Once) -> list[Service]:
    return [
        Service(
            descriptor=catalogue_pb2.DESCRIPTOR.services_by_name["CatalogueService"],
            servicer=CatalogueServicer(
                admission=admission,
                once=once,
                storage=region.storage,
                publication=region.publication,
                pages=region.pages,
                namespace=region.namespace,
                clock=region.clock,
            ),
            register=catalogue_pb2_grpc.add_CatalogueServiceServicer_to_server,
        ),
        Service(
            descriptor=subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
            servicer=SubjectServicer(
                admission=admission,
                once=once,
                storage=region.storage,
                subjects=region.subjects,
                namespace=region.namespace,
            ),
            register=subject_pb2_grpc.add_SubjectServiceServicer_to_server,
        ),
        Service(
            descriptor=issuance_pb2.DESCRIPTOR.services_by_name["IssuanceService"],
            servicer=IssuanceServicer(
                admission=admission,
                issuance=region.issuance,
                receipts=region.receipts,
                patience=region.settings.server.receipt_patience,
                namespace=region.namespace,
                clock=region.clock,
            ),
            register=issuance_pb2_grpc.add_IssuanceServiceServicer_to_server,
        ),
        Service(
            descriptor=licence_pb2.DESCRIPTOR.services_by_name["LicenceService"],
            servicer=LicenceServicer(
                admission=admission,
                storage=region.storage,
                holding=region.holding,
                lifecycle=region.lifecycle,
                pages=region.pages,
                namespace=region.namespace,
                clock=region.clock,
            ),
            register=licence_pb2_grpc.add_LicenceServiceServicer_to_server,
        ),
        Service(
            descriptor=administration_pb2.DESCRIPTOR.services_by_name["AdministrationService"],
            servicer=AdministrationServicer(
                admission=admission, once=once, registrar=region.registrar, pages=region.pages
            ),
            register=administration_pb2_grpc.add_AdministrationServiceServicer_to_server,
        ),
    ]
