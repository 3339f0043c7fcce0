"""The whole story of a region's keys, with real processes, in ES256 and in SM2.

A thousand licences are issued; every key is rotated under clients that work on;
the licence-signing key is stolen, used outside and through the service, and
declared compromised; in the end the log's Ed25519 falls. Nothing is reissued.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from support.requests import AUTHORITY
from support.rotating_region import Work, every_key, fresh_pack, rotate, shorten_waits
from support.served_region import CONTEXT, RunningServer, ServedRegion, call, issue_request
from support.theft import file_of, forge_outside, forge_through, stolen_signer
from yinxin import Client, IssuedLicence, Verifier
from yinxin.approvalarchive import FOLDER
from yinxin.proof import prove_licence
from yinxin_ca.keystore import Purpose
from yinxin_proto import pem
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.licence import LicenceFile
from yinxin_proto.merkle import TreeHead, leaf_hash, root_of_hashes
from yinxin_proto.note import NoteSigner
from yinxin_proto.receipt import Receipt
from yinxin_proto.trustlist import TrustList
from yinxin_trust.approvedstock import read_copies
from yinxin_trust.keystanding import find_key
from yinxin_trust.ledger import LICENCES, receipts, signed_head
from yinxin_trust.publication import published_trust_list
from yinxin_trust.storage import Storage
from yinxin_verifier.report import Indication, Report

THOUSAND = 1000
BATCH = 125
OFFICERS = ("li", "wang")
OFFICER_PASSPHRASE = {"YINXIN_OFFICER_PASSPHRASE": "an officer's own words"}
NO_TIME = timedelta(0)
REASONS = {
    "outside": "INCLUSION",
    "made up": "KEY_COMPROMISED_LATER_ENTRY",
    "before its time": "KEY_NOT_YET_VALID",
    "replayed": "KEY_COMPROMISED_LATER_ENTRY",
    "hidden": "KEY_COMPROMISED_LATER_ENTRY",
}
"""Why each forgery fails."""
OLD, NEW = f"{AUTHORITY}.licence.1", f"{AUTHORITY}.licence.2"

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Story:
    """One region from its first licence to the fall of its log's signature."""

    served: ServedRegion
    root: Path
    genuine: list[IssuedLicence] = field(default_factory=list)
    forged: dict[str, bytes] = field(default_factory=dict)

    def command(self, *words: str, **environment: str) -> str:
        """Run a command that must succeed; return what it printed."""
        done = call(*words, **environment)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def appoint(self) -> None:
        """Register two officers, each with a key of their own."""
        for name in OFFICERS:
            key = self.root / f"{name}.key"
            self.command("officer", "key", "--out", str(key), **OFFICER_PASSPHRASE)
            words = ("--id", name, "--name", "虚构安全员", "--key", f"{key}.pub")
            self.command("region", "officer", "add", str(self.served.directory), *words)

    def sign(self, operation: Path, *names: str) -> None:
        for name in names:
            key = str(self.root / f"{name}.key")
            words = ("officer", "sign", str(operation), "--key", key, "--id", name, "--yes")
            self.command(*words, **OFFICER_PASSPHRASE)

    def act(self, *words: str) -> None:
        """Have an operation prepared, signed by both officers, and carried out."""
        operation = self.root / f"operation-{len(list(self.root.glob('operation-*')))}.json"
        command, target, *others = words
        named = (command, str(self.served.directory), target)
        self.command("key", *named, *others, "--out", str(operation))
        refused = call("key", *named, "--operation", str(operation))
        assert refused.returncode != 0, "nobody has signed it"
        self.sign(operation, *OFFICERS)
        self.command("key", *named, "--operation", str(operation))

    def issue(self, client: Client, count: int) -> None:
        first = len(self.genuine)
        for start in range(first, first + count, BATCH):
            numbers = range(start, min(start + BATCH, first + count))
            requests = [issue_request(f"虚构证字G{number}") for number in numbers]
            self.genuine += client.issue_many(requests, context=CONTEXT)

    def rotate_everything(self, server: RunningServer) -> None:
        """Rotate every key in turn; no call of a client may fail."""
        with Work.going_on(self.served, server) as work:
            work.pause()
            for purpose, owner in every_key(AUTHORITY):
                rotate(self.served, purpose, owner)
                work.pause()
                assert not work.failures, (purpose, server.journal.read_text()[-3000:])
        assert not work.failures
        assert len(work.issued) >= 2 * len(every_key(AUTHORITY))
        self.genuine += work.issued
        listed = json.loads(self.command("key", "list", str(self.served.directory), "--json"))
        stages = Counter(line["stage"] for line in listed)
        assert stages["retired"] == len(every_key(AUTHORITY))
        self.command("doctor", str(self.served.directory))

    def rotate_approval_key(self, server: RunningServer) -> None:
        """Let the authority change its own key; clients with either go on until the end."""
        with self.served.open() as region:
            made = region.foundation.suite.generate()
        public = self.root / "approval.pub"
        public.write_bytes(pem.encode(pem.PUBLIC_KEY, made.public_key.spki))
        with Work.going_on(self.served, server) as old:
            old.pause()
            words = ("--code", AUTHORITY, "--approval-key", str(public))
            self.command("authority", "add-key", str(self.served.directory), *words)
            old.pause()
        own = self.served.credentials / "approval.key"
        own.write_bytes(pem.encode(pem.PRIVATE_KEY, made.to_pkcs8()))
        with Work.going_on(self.served, server) as new:
            new.pause()
            rotate(self.served, Purpose.APPROVAL, AUTHORITY)
            new.pause()
        assert not old.failures
        assert not new.failures
        self.genuine += [*old.issued, *new.issued]

    def compromise(self, key: str) -> dict[str, object]:
        """Hold a key against the authority's own copies, and declare it compromised."""
        copies = ("--approvals", str(self.served.credentials / FOLDER))
        words = ("key", "compromise", str(self.served.directory), key)
        report: dict[str, object] = json.loads(self.command(*words, *copies, "--dry-run", "--json"))
        self.act("compromise", key, *copies)
        return report

    def verifier(self, name: str) -> Verifier:
        """A verifier offline, with a pack of now."""
        pack = fresh_pack(self.served, self.root / name)
        return Verifier.open(pack, pin=self.served.credentials / "root.json")

    def trust_list(self) -> TrustList:
        with self.served.open() as region, region.storage.read() as conn:
            return TrustList.parse(published_trust_list(conn, region.clock.now()))

    def newest(self, licence: IssuedLicence, client: Client) -> bytes:
        """The licence's file with the receipt that the region gives today."""
        file = client.get(licence, context=CONTEXT).file
        assert file is not None
        return file

    def steal(self) -> None:
        """Use the key outside the service, and through it with the service's own code."""
        with self.served.open() as region:
            signer = stolen_signer(region, AUTHORITY, 2)
            genuine = self.genuine[-1].file
            assert genuine is not None
            backdated = region.clock.now() - timedelta(days=30)
            self.forged["outside"] = forge_outside(genuine, signer, issued_at=backdated)
            made_up = forge_through(
                region, issue_request("虚构证字F1").to_bytes(), bytes(32), backdated=NO_TIME
            )
            before_its_time = forge_through(
                region, issue_request("虚构证字F4").to_bytes(), bytes(32)
            )
            copy = next(iter(read_copies(self.served.credentials / FOLDER)))
            replayed = forge_through(
                region,
                issue_request("虚构证字F2").to_bytes(),
                copy.parse_approval().claimed.digest,
                claimed_request=copy.digests[0],
                backdated=NO_TIME,
            )
            hidden = forge_through(
                region,
                issue_request("虚构证字F3").to_bytes(),
                bytes(32),
                keep_row=False,
                backdated=NO_TIME,
            )
            records = {
                "made up": made_up,
                "before its time": before_its_time,
                "replayed": replayed,
                "hidden": hidden,
            }
            _await_sequencing(region.storage, [record.entry for record in records.values()])
            for name, record in records.items():
                self.forged[name] = file_of(region, record)

    def forge_log(self) -> bytes:
        """Log a licence in a tree of the thief's own, by the log's Ed25519 key alone."""
        with self.served.open() as region:
            genuine = self.genuine[0].file
            assert genuine is not None
            file = LicenceFile.parse(genuine)
            with region.storage.read() as conn:
                origin = signed_head(conn, LICENCES).origin
            epoch = int(origin.rpartition("/")[2])
            signer = region.keyring.log_signer(LICENCES, epoch)
        return _fork(file, signer)


def _fork(file: LicenceFile, signer: NoteSigner) -> bytes:
    entry = prove_licence(file.to_bytes()).entry
    leaf = leaf_hash(entry)
    head = TreeHead(1, root_of_hashes(leaf))
    note = Checkpoint(origin=signer.vkey.name, size=1, root=head.root).sign([signer])
    return LicenceFile(
        file.sd_jwt, file.opening, Receipt(index=0, proof=(), checkpoint=note).to_bytes()
    ).to_bytes()


def _await_sequencing(storage: Storage, entries: Sequence[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with storage.read() as conn:
            if len(receipts(conn, LICENCES, entries)) == len(entries):
                return
        time.sleep(0.1)
    raise AssertionError("the thief's entries were not sequenced")


def passed(reports: Sequence[Report]) -> None:
    """Every one of them passed."""
    failed = [one.code for one in reports if one.indication is not Indication.TOTAL_PASSED]
    assert not failed


@pytest.fixture(params=["ES256", "SM2"])
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Story:
    served = ServedRegion.found(tmp_path, suite=request.param)
    shorten_waits(served)
    return Story(served, tmp_path)


def test_a_region_outlives_its_keys(story: Story) -> None:
    served = story.served
    story.appoint()
    with served.serve() as server:
        with served.client(server.address) as client:
            story.issue(client, THOUSAND)
        before = story.verifier("before.zip")
        story.rotate_everything(server)
        story.rotate_approval_key(server)
        # With the authority's new key from here on.
        with served.client(server.address) as client:
            story.issue(client, BATCH)
            passed(client.verify_many(story.genuine, context=CONTEXT))

            story.steal()
            # Who has not heard of it is told by the age of what he has.
            unaware = before.verify(story.forged["made up"])
            assert unaware.indication is not Indication.TOTAL_PASSED
            assert unaware.trust_age is not None
            assert "trustAgeSeconds" in unaware.to_json()

            report = story.compromise(NEW)
            assert len(report["doubtful"]) == 4  # type: ignore[arg-type]
            # A key that was retired and destroyed may have been copied before.
            story.compromise(OLD)
            listed = story.trust_list()
            for name in (OLD, NEW):
                with served.open() as region, region.storage.read() as conn:
                    found = listed.find_key(find_key(conn, name).thumbprint)
                assert found is not None
                assert found[1].state is KeyState.COMPROMISED

            offline = story.verifier("after.zip")
            passed(client.verify_many(story.genuine, context=CONTEXT))
            passed(offline.verify_many(story.genuine))
            refreshed = story.newest(story.genuine[0], client)
            assert refreshed != story.genuine[0].file
            passed([offline.verify(refreshed), client.verify(refreshed, context=CONTEXT)])
            for name, forged in story.forged.items():
                expected = (Indication.TOTAL_FAILED, REASONS[name])
                for judged in (offline.verify(forged), client.verify(forged, context=CONTEXT)):
                    assert (judged.indication, judged.code) == expected, name
            # Issuing goes on, under the key that the same operation put in place.
            story.issue(client, 1)

            for log in story.trust_list().logs:
                if log.kind == "licences":
                    story.act("break", log.origin)
            offline = story.verifier("broken.zip")
            passed(offline.verify_many(story.genuine))
            passed(client.verify_many(story.genuine[:BATCH], context=CONTEXT))
            fork = offline.verify(story.forge_log())
            assert (fork.indication, fork.code) == (Indication.TOTAL_FAILED, "LOG_KEY_BROKEN")
    assert call("audit", "verify", str(served.directory)).returncode == 0
