"""The theft of a key at the command line, as the runbook says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from support.requests import AUTHORITY
from support.served_region import ServedRegion, call, issue_request
from yinxin.approvalarchive import FOLDER, ApprovalArchive
from yinxin.credentials import ApprovalKey
from yinxin_edge.clock import SystemClock
from yinxin_proto.approval import approve
from yinxin_proto.keyrecord import KeyState
from yinxin_trust import schema
from yinxin_trust.access import Principal, Role
from yinxin_trust.context import CallContext
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.keystanding import find_key

KEY = f"{AUTHORITY}.licence.1"
OFFICER_PASSPHRASE = {"YINXIN_OFFICER_PASSPHRASE": "an officer's own words"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegion:
    """A region's directory with two officers, one licence, and the authority's copy of it."""
    root = tmp_path_factory.mktemp("theft")
    made = ServedRegion.found(root)
    for name in ("li", "wang"):
        key = root / f"{name}.key"
        assert call("officer", "key", "--out", str(key), **OFFICER_PASSPHRASE).returncode == 0
        added = call(
            "region", "officer", "add", str(made.directory), "--id", name, "--name", "虚构",
            "--key", f"{key}.pub",
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
    _issue(made)
    return made


def _issue(served: ServedRegion) -> None:
    with served.open() as region:
        request = issue_request("虚构证字 1").to_bytes()
        pem = (served.credentials / "approval.key").read_bytes()
        approval = approve(
            [request],
            signer=ApprovalKey(pem).signer(),
            authority=AUTHORITY,
            region="350300",
            clock=region.clock,
            entropy=region.entropy,
        )
        ApprovalArchive(served.credentials / FOLDER, clock=SystemClock()).keep(approval, [request])
        caller = Principal("issuer", "", AUTHORITY, frozenset({Role.ISSUER}), enabled=True)
        context = CallContext("虚构事项审批")
        region.issuance.issue(IssueCommand(caller, context, "r-1", [request], approval))
        region.sequence()


def _state(served: ServedRegion) -> tuple[KeyState, bool]:
    with served.open() as region, region.storage.read() as conn:
        key = find_key(conn, KEY)
        return key.record.state, key.stopped_ms is not None


def test_the_runbook_of_a_stolen_licence_key(served: ServedRegion, tmp_path: Path) -> None:
    folder = served.directory
    operation = tmp_path / "operation.json"
    copies = str(served.credentials / FOLDER)

    shown = call("key", "compromise", str(folder), KEY, "--approvals", copies, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert _state(served) == (KeyState.ACTIVE, True)
    assert not list(tmp_path.iterdir())

    made = call(
        "key", "compromise", str(folder), KEY, "--approvals", copies, "--out", str(operation),
        "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert (report["entries"], report["compared"], report["doubtful"]) == (1, 1, [])

    unsigned = call("key", "compromise", str(folder), KEY, "--operation", str(operation))
    assert unsigned.returncode != 0
    assert "2 officers" in unsigned.stderr
    for name, count in (("li", 1), ("wang", 2)):
        key = next(folder.parent.glob(f"{name}.key"))
        words = ("officer", "sign", str(operation), "--key", str(key), "--id", name, "--yes")
        signed = call(*words, **OFFICER_PASSPHRASE)
        assert signed.returncode == 0, signed.stderr
        assert f"({count} of 2" in signed.stdout
        again = call(*words, **OFFICER_PASSPHRASE)
        assert again.returncode != 0
        assert "OFFICER_TWICE" in again.stderr
    other = str(folder.parent / "li.key")
    wrong = call("officer", "sign", str(operation), "--key", other, "--id", "zhao", "--yes",
                 YINXIN_OFFICER_PASSPHRASE="another's words")  # fmt: skip
    assert wrong.returncode != 0

    done = call("key", "compromise", str(folder), KEY, "--operation", str(operation))
    assert done.returncode == 0, done.stderr
    assert _state(served) == (KeyState.COMPROMISED, True)
    assert f"{AUTHORITY}.licence.2" in done.stdout
    replayed = call("key", "compromise", str(folder), KEY, "--operation", str(operation))
    assert replayed.returncode == 0, "the same again changes nothing"

    listed = call("region", "officer", "list", str(folder))
    assert "li" in listed.stdout
    audited = call("audit", "verify", str(folder))
    assert audited.returncode == 0, audited.stdout
    examined = call("doctor", str(folder))
    assert "unsound" not in examined.stdout


def test_the_audit_trail_says_who_was_refused(served: ServedRegion) -> None:
    refused = call("key", "suspend", str(served.directory), "0" * 16)
    assert refused.returncode != 0
    with served.open() as region, region.storage.read() as conn:
        a = schema.audit.c
        rows = conn.execute(select(a.method, a.reason).where(a.reason != "")).all()
    assert ("Console/SuspendKey", "KEY") in {tuple(row) for row in rows}
