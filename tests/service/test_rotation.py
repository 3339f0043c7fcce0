"""Every key in turn, in a region that is served by real processes, under load."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from support.requests import AUTHORITY
from support.rotating_region import Work, every_key, fresh_pack, rotate, shorten_waits
from support.served_region import CONTEXT, ServedRegion, call
from yinxin import Verifier


def test_every_key_rotates_while_clients_work_without_one_failed_call(tmp_path: Path) -> None:
    served = ServedRegion.found(tmp_path)
    shorten_waits(served)
    with served.serve() as server:
        with Work.going_on(served, server) as work:
            work.pause()
            for purpose, owner in every_key(AUTHORITY):
                rotate(served, purpose, owner)
                work.pause()
                assert not work.failures, (purpose, server.journal.read_text()[-3000:])
        assert not work.failures
        assert len(work.issued) >= 2 * len(every_key(AUTHORITY))
        with served.client(server.address) as client:
            for licence in work.issued:
                client.verify(licence, context=CONTEXT).require_passed()
    listed = json.loads(call("key", "list", str(served.directory), "--json").stdout)
    stages = Counter(line["stage"] for line in listed)
    assert stages["retired"] == len(every_key(AUTHORITY))
    pack = fresh_pack(served, tmp_path / "pack")
    verifier = Verifier.open(pack, pin=served.credentials / "root.json")
    for licence in work.issued:
        verifier.verify(licence).require_passed()
    assert call("doctor", str(served.directory)).returncode == 0
