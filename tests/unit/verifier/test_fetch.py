from __future__ import annotations

from dataclasses import dataclass

import pytest

from support.region_builder import Issued, RegionBuilder
from yinxin_proto.error import UnavailableError
from yinxin_proto.licence import LicenceFile
from yinxin_verifier.decision import verify
from yinxin_verifier.fetch import LogProof, gather
from yinxin_verifier.policy import OFFLINE, ONLINE
from yinxin_verifier.report import Report


@dataclass
class Service:
    """A region that answers, or does not."""

    region: RegionBuilder
    issued: Issued
    reachable: bool = True
    logged: bool = True

    def status_token(self, uri: str) -> str:
        self._check()
        return self.region.status_token(uri=uri)

    def log_proof(self, identifier: str) -> LogProof | None:
        self._check()
        assert identifier == self.issued.claims["ZZBS"]
        if not self.logged:
            return None
        receipt = self.region.receipt(self.issued)
        return LogProof(self.issued.opening.to_bytes(), receipt.to_bytes())

    def _check(self) -> None:
        if not self.reachable:
            raise UnavailableError("the region does not answer")


@pytest.fixture
def service() -> Service:
    region = RegionBuilder()
    return Service(region, region.issue())


def ask(service: Service, licence: bytes | str) -> Report:
    region = service.region
    evidence = gather(licence, region.trust(tokens=[]), service, policy=ONLINE)
    return verify(evidence, ONLINE, region.clock.now())


def test_what_is_missing_is_asked_for(service: Service) -> None:
    assert ask(service, service.issued.sd_jwt).exit_status == 0


def test_a_log_that_denies_a_licence_fails_it(service: Service) -> None:
    service.logged = False
    assert ask(service, service.issued.sd_jwt).code == "NOT_LOGGED"


def test_a_region_that_does_not_answer_is_neither_revoked_nor_valid(service: Service) -> None:
    service.reachable = False
    report = ask(service, service.region.file(service.issued))
    assert report.exit_status == 2
    assert report.code == "STATUS_UNAVAILABLE"
    assert ask(service, service.issued.sd_jwt).code == "LOG_UNREACHABLE"


def test_a_malformed_licence_is_left_for_the_verdict(service: Service) -> None:
    assert ask(service, b"{").code == "FORMAT"


def test_the_log_is_not_asked_where_a_receipt_is_required(service: Service) -> None:
    region = service.region
    evidence = gather(service.issued.sd_jwt, region.trust(), service, policy=OFFLINE)
    assert evidence.log_answer is None


def test_a_receipt_without_its_opening_is_asked_for_anew(service: Service) -> None:
    receipt = service.region.receipt(service.issued).to_bytes()
    half = LicenceFile(service.issued.sd_jwt, None, receipt).to_bytes()
    assert ask(service, half).exit_status == 0
