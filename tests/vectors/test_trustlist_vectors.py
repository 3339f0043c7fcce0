"""Our own vectors of the trust list and the trust repository.

Made anew from fixed keys (RFC 6979) and compared with the committed ones: a
change here is a change of the wire format. To accept one, run this file as a
program and say so in a decision record.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from support.trust_list import trust_list
from support.trust_repository import PublishedRepository, key
from yinxin_proto.trustlist import TrustList

FOLDER = Path(__file__).parent
TRUST_LIST = FOLDER / "trustlist_v1.json"
REPOSITORY = FOLDER / "repository_v1.json"


def repository_digests() -> dict[str, str]:
    """Return SHA-256 by path of a repository after an update and two rotations."""
    published = PublishedRepository()
    published.update("targets", {"trust.json": trust_list().to_bytes()})
    published.rotate("root", key(301))
    published.rotate("timestamp", key(302))
    published.clock.advance(hours=1)
    published.update("status", {"status/a1.jwt": b"newer", "status/b2.jwt": None})
    published.load()
    return {path: sha256(data).hexdigest() for path, data in sorted(published.files.items())}


def test_the_trust_list_has_the_committed_bytes() -> None:
    assert trust_list().to_bytes() == TRUST_LIST.read_bytes()
    assert TrustList.parse(TRUST_LIST.read_bytes()) == trust_list()


def test_the_repository_has_the_committed_bytes() -> None:
    assert repository_digests() == json.loads(REPOSITORY.read_text(encoding="utf-8"))


if __name__ == "__main__":
    TRUST_LIST.write_bytes(trust_list().to_bytes())
    REPOSITORY.write_text(json.dumps(repository_digests(), indent=1) + "\n", encoding="utf-8")
