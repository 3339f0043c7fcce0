"""The demo, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from yinxin.approval_csv import ApprovalRow, read_approvals
from yinxin.client import Client, connect
from yinxin.context import Context
from yinxin.credentials import Credentials
from yinxin.demo import cases
from yinxin.demo.approvals import find_authorities, newest_day, read_file
from yinxin.demo.cases import Case, RegionSource
from yinxin.demo.issuing import Department
from yinxin.demo.process import RegionCommands, ServerProcess
from yinxin.demo.stopwatch import Stopwatch
from yinxin.licence import IssuedLicence
from yinxin.proof import prove_licence
from yinxin.verifier import Verifier
from yinxin_edge.terminal import Terminal
from yinxin_proto.clock import Clock
from yinxin_proto.error import FailedPreconditionError, InternalError, VerificationError
from yinxin_verifier import decision
from yinxin_verifier.fetch import gather
from yinxin_verifier.policy import ONLINE
from yinxin_verifier.report import Indication, Report

CODE: Final = "350300"
DOMAIN: Final = "putian.example"
NAME: Final = "莆田市（示例）"
COUNTER: Final = "service-centre"
COUNTER_NAME: Final = "莆田市示例政务服务中心"
WORKERS: Final = 2
FOOD: Final = "11100000MB0143028R002"
"""食品经营许可证: it is valid for five years, so an old one has expired."""
_CHECK: Final = Context("核验办事人提交的证照", operator="示例窗口")
_PATIENCE: Final = timedelta(seconds=3)


class Story:
    """One run of the demo.

    Args:
        root: An empty folder: region, licences, packs and journal go there.
        commands: Run the region's own commands.
        terminal: Tells the story.
        clock: What day it is.
        suite: Name of the region's suite.
    """

    def __init__(
        self,
        *,
        root: Path,
        commands: RegionCommands,
        terminal: Terminal,
        clock: Clock,
        suite: str,
    ) -> None:
        self._root = root
        self._commands = commands
        self._terminal = terminal
        self._clock = clock
        self._suite = suite
        self._watch = Stopwatch(terminal)
        self._data = read_file()
        self._departments: list[Department] = []
        self._rows: list[ApprovalRow] = []
        self._issued: list[IssuedLicence] = []

    def tell(self) -> None:
        """Run everything.

        Raises:
            YinxinError: A step failed, or a verdict was not the expected one.
        """
        self._check_day()
        self._found()
        self._enrol()
        with self._commands.serve(self._root / "server.log", workers=WORKERS) as server:
            self._await(server)
            self._issue(server)
            self._verify_online(server)
            self._verify_offline()
            bad = self._spoil(server)
            verifier = self._export("pack-2.zip")
            self._judge(bad, verifier, server)
            self._prove(verifier, server)
            self._stop(server)
            self._judge_unreachable(verifier, server)
        self._watch.show()

    def _check_day(self) -> None:
        newest = newest_day(self._data)
        if self._clock.now().date() < newest:
            raise FailedPreconditionError(
                f"this machine's clock is before {newest}, when the last of the approvals begins; "
                "set the clock",
                reason="DEMO_CLOCK",
            )

    def _found(self) -> None:
        with self._watch.step("found") as step:
            words = ["--code", CODE, "--domain", DOMAIN, "--name", NAME, "--suite", self._suite]
            self._commands.run("region", "init", str(self._commands.directory), *words)
            step.result = self._text("found", name=NAME, code=CODE)

    def _enrol(self) -> None:
        region = str(self._commands.directory)
        with self._watch.step("enrol") as step:
            for number, authority in enumerate(find_authorities(self._data), 1):
                folder = self._root / "clients" / f"authority-{number}"
                words = ["--code", authority.code, "--name", authority.name, "--out", str(folder)]
                words += [word for code in authority.types for word in ("--type", code)]
                self._commands.run("authority", "add", region, *words)
                self._departments.append(Department(authority, folder))
            words = ["--id", COUNTER, "--name", COUNTER_NAME, "--role", "verifier"]
            words += ["--out", str(self._root / "clients" / COUNTER)]
            self._commands.run("principal", "add", region, *words)
            step.result = self._text("enrol", count=len(self._departments))

    def _await(self, server: ServerProcess) -> None:
        with self._watch.step("serve") as step:
            server.wait_until_ready()
            step.result = self._text("serve", workers=WORKERS, address=server.address)

    def _issue(self, server: ServerProcess) -> None:
        with self._watch.step("issue") as step:
            with self._departments[0].connect(server.address) as client:
                self._rows = read_approvals(self._data, client.type, region=CODE)
            for department in self._departments:
                with department.connect(server.address) as client:
                    self._issued += department.issue(client, department.rows_of(self._rows))
            kinds = Counter(licence.licence_type for licence in self._issued)
            step.result = self._text("issue", count=len(self._issued), types=len(kinds))
        folder = self._root / "licences"
        folder.mkdir()
        for licence in self._issued:
            licence.save(folder)

    def _verify_online(self, server: ServerProcess) -> None:
        with self._watch.step("online") as step, self._counter(server) as client:
            reports = client.verify_many(self._issued, context=_CHECK)
            step.result = self._text("passed", count=_require_passed(reports))

    def _verify_offline(self) -> None:
        verifier = self._export("pack-1.zip")
        with self._watch.step("offline") as step:
            files = sorted((self._root / "licences").iterdir())
            step.result = self._text("passed", count=_require_passed(verifier.verify_many(files)))

    def _export(self, name: str) -> Verifier:
        pack = self._root / name
        with self._watch.step("pack") as step:
            self._commands.run("pack", "export", str(self._commands.directory), str(pack))
            verifier = Verifier.open(pack, pin=self._root / "clients" / COUNTER / "root.json")
            size = f"{pack.stat().st_size / 1024:.0f} KiB"
            step.result = self._text("pack", name=name, size=size)
        return verifier

    def _spoil(self, server: ServerProcess) -> list[Case]:
        """Make licences that must not pass, each of one authority's."""
        with self._watch.step("spoil") as step:
            food = next(row for row in self._rows if row.request["type"] == FOOD)
            old = cases.outdated(food, self._clock.now().date())
            department = next(d for d in self._departments if d.rows_of([food]))
            tampered, suspended, revoked = self._issued[:3]
            with department.connect(server.address) as client:
                expired = department.issue_one(client, old)
                client.suspend(suspended, **cases.SUSPENSION)
                client.revoke(revoked, **cases.REVOCATION)
            step.result = self._text("spoil")
        return [
            Case("tampered", cases.tamper(cases.require_file(tampered.file)), "SIGNATURE"),
            Case("expired", cases.require_file(expired.file), "EXPIRED"),
            Case("suspended", cases.require_file(suspended.file), "SUSPENDED"),
            Case("revoked", cases.require_file(revoked.file), "REVOKED"),
        ]

    def _judge(self, bad: Sequence[Case], verifier: Verifier, server: ServerProcess) -> None:
        with self._watch.step("judge") as step, self._counter(server) as client:
            online = client.verify_many([case.file for case in bad], context=_CHECK)
            offline = verifier.verify_many([case.file for case in bad])
            for case, *reports in zip(bad, online, offline, strict=True):
                for report in reports:
                    case.check(report)
            step.result = self._text("judge", count=len(bad))
        self._show_verdicts(zip(bad, offline, strict=True))

    def _prove(self, verifier: Verifier, server: ServerProcess) -> None:
        """Follow one licence into the log, and that log to what it is now."""
        with self._watch.step("prove") as step, self._counter(server) as client:
            proof = prove_licence(cases.require_file(self._issued[-1].file))
            stated = proof.checkpoint.claimed
            log = verifier.trust.home.logs.get(stated.origin)
            if log is None:
                raise VerificationError("the pack knows no log of this origin", reason="LOG")
            log.verify(proof.checkpoint, verifier.trust.home.witnesses)
            newest = log.verify(client.checkpoint(), verifier.trust.home.witnesses)
            client.prove_consistency(stated.head, newest.head)
            step.result = self._text("prove", index=proof.receipt.index, size=newest.head.size)
        members = [
            (self._label("identifier"), proof.identifier),
            (self._label("entry"), proof.entry.hex()),
            (self._label("index"), proof.receipt.index),
            (self._label("path"), "\n".join(sibling.hex() for sibling in proof.receipt.proof)),
            (self._label("root"), f"{stated.head.root.hex()} ({stated.head.size})"),
            (self._label("newest"), f"{newest.head.root.hex()} ({newest.head.size})"),
        ]
        self._terminal.record(self._terminal.text("demo.proof"), members, style="green")

    def _stop(self, server: ServerProcess) -> None:
        with self._watch.step("stop") as step:
            status = server.stop()
            if status != 0:
                raise InternalError(f"the server ended with status {status}", reason="DEMO_STOP")
            step.result = self._text("stop")

    def _judge_unreachable(self, verifier: Verifier, server: ServerProcess) -> None:
        """Ask for a licence's status where nobody answers any more."""
        file = cases.require_file(self._issued[-1].file)
        case = Case("unreachable", file, "STATUS_UNAVAILABLE", Indication.INDETERMINATE)
        with self._watch.step("unreachable") as step:
            with self._counter(server, patience=_PATIENCE) as client:
                source = RegionSource(client)
                evidence = gather(case.file, verifier.trust, source, policy=ONLINE)
            report = case.check(decision.verify(evidence, ONLINE, self._clock.now()))
            step.result = self._text("unreachable")
        self._show_verdicts([(case, report)])

    def _counter(
        self, server: ServerProcess, *, patience: timedelta = timedelta(minutes=1)
    ) -> Client:
        """Return the client of the department that verifies."""
        folder = self._root / "clients" / COUNTER
        return connect(server.address, credentials=Credentials.load(folder), deadline=patience)

    def _show_verdicts(self, judged: Iterable[tuple[Case, Report]]) -> None:
        columns = [self._label(name) for name in ("case", "verdict", "code")]
        rows = [
            (
                self._terminal.text(f"demo.case.{case.name}"),
                self._terminal.pick(report.text),
                report.code,
            )
            for case, report in judged
        ]
        self._terminal.table(columns, rows)

    def _text(self, key: str, **values: object) -> str:
        return self._terminal.text(f"demo.result.{key}", **values)

    def _label(self, key: str) -> str:
        return self._terminal.text(f"demo.label.{key}")


def _require_passed(reports: Iterable[Report]) -> int:
    """Return how many there are; every one must have passed.

    Raises:
        InternalError: ``DEMO_VERDICT``.
    """
    count = 0
    for report in reports:
        if report.indication is not Indication.TOTAL_PASSED:
            raise InternalError(
                f"a licence did not pass: {report.code} ({report.reason})", reason="DEMO_VERDICT"
            )
        count += 1
    return count
