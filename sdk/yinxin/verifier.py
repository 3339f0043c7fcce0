"""Verifying offline: a pack, a pinned root, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Self

from yinxin.catalogue import MAX_DEFINITION_BYTES, field_names
from yinxin.presentation import Presentation, read_presentation
from yinxin_edge.clock import SystemClock
from yinxin_edge.libcrypto import choose_libcrypto
from yinxin_proto.clock import Clock
from yinxin_proto.error import ConfigurationError, MalformedError
from yinxin_proto.repository_metadata import MAX_ROOT_BYTES
from yinxin_proto.strict import parse_json_object
from yinxin_verifier import decision
from yinxin_verifier.evidence import Evidence, TrustSet
from yinxin_verifier.examination import Request
from yinxin_verifier.pack import LoadedPack, PackLoader, Pinning
from yinxin_verifier.policy import OFFLINE, Policy
from yinxin_verifier.reason import Text
from yinxin_verifier.report import Report
from yinxin_verifier.store import MemoryStore


class Verifier:
    """Judges licences by one offline pack 离线核验包, without a connection.

    What the pack says is verified once, when it is opened; verifying a licence
    then reads nothing but the licence. Safe to use from several threads.

    Args:
        pack: A verified pack.
        clock: The moment of each verification.
    """

    def __init__(self, pack: LoadedPack, *, clock: Clock) -> None:
        self._pack = pack
        self._clock = clock

    @classmethod
    def open(
        cls,
        pack: Path | str,
        *,
        pin: bytes | Path | str | None = None,
        pq_root: bytes | Path | str | None = None,
        state: Path | str | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Verify a pack from its root to its checkpoints, and judge by it.

        Args:
            pack: A directory or a ZIP file.
            pin: The region's trust root, got by another way than the pack: its
                bytes or its file. Without it the pack's own first root is
                taken on first use, which whoever made the pack could have
                made: compare `root_fingerprint`.
            pq_root: The region's parallel ML-DSA root, DER, got by another way
                than the pack: its bytes or its file. Of the region's logs
                nothing but ML-DSA-44 signatures counts then, whatever becomes
                of Ed25519.
            state: File in which to remember the root, and the newest that was
                seen: without it neither another root nor an older pack can be
                noticed the next time.
            clock: The machine's when omitted.

        Raises:
            NotFoundError: There is no pack.
            MalformedError: Truncated, damaged, oversized or malformed.
            VerificationError: Not signed as it must be, expired, older than
                one seen before (``ROLLBACK``), or of another root
                (``PINNED_ROOT``, ``PQ_ROOT_PINNED``).
            ConfigurationError: A pinned root cannot be read (``PINNED_ROOT``).
        """
        choose_libcrypto()
        clock = clock or SystemClock()
        loader = PackLoader(
            pinned_root=_root(pin),
            trust_first_use=pin is None,
            pq_root=_root(pq_root),
            memory=None if state is None else MemoryStore(Path(state)),
        )
        return cls(loader.load(Path(pack), clock.now()), clock=clock)

    @property
    def pinning(self) -> Pinning:
        """How the root that everything rests on came to be trusted."""
        return self._pack.pinning

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 of that root, hexadecimal: for people to compare."""
        return self._pack.root_fingerprint

    @property
    def parallel_root(self) -> bytes | None:
        """The parallel ML-DSA root that the pack names, DER: to compare, and to pin."""
        return self._pack.trust.home.trust_list.anchors.pq_root

    @property
    def trust(self) -> TrustSet:
        """What the pack makes believable, for a caller with evidence of its own."""
        return self._pack.trust

    def verify(
        self,
        presentation: Presentation,
        at: datetime | None = None,
        policy: Policy = OFFLINE,
        request: Request | None = None,
    ) -> Report:
        """Verify one licence. A licence that fails is a report too.

        Args:
            presentation: See `Presentation`.
            at: The moment to judge validity and status at; now when omitted.
            policy: How much evidence is enough.
            request: Purpose, audience and nonce of the presentation.

        Raises:
            InvalidArgumentError: ``at`` lies in the future, or has no timezone.
        """
        evidence = Evidence(licence=read_presentation(presentation), trust=self._pack.trust)
        return decision.verify(evidence, policy, self._clock.now(), at, request)

    def verify_many(
        self,
        presentations: Iterable[Presentation],
        at: datetime | None = None,
        policy: Policy = OFFLINE,
    ) -> list[Report]:
        """Verify licences, each by itself, in order; see `verify`."""
        return [self.verify(presentation, at, policy) for presentation in presentations]

    def field_names(self, licence_type: str) -> Mapping[str, Text]:
        """Return the display names of a type's ``KZ_*`` fields, where the pack has them."""
        definition = self._pack.catalogue.get(licence_type)
        if definition is None:
            return {}
        try:
            return field_names(parse_json_object(definition, max_bytes=MAX_DEFINITION_BYTES))
        except MalformedError:
            # For display alone: a licence of a type that is badly described verifies as well.
            return {}


def _root(pin: bytes | Path | str | None) -> bytes | None:
    if pin is None or isinstance(pin, bytes):
        return pin
    try:
        with Path(pin).open("rb") as file:
            return file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            "the pinned root cannot be read; give the file of the region's root",
            reason="PINNED_ROOT",
        ) from error
