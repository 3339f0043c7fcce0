"""Whether a region may be founded under these settings: every fault at once.

What is refused here would stand inside licences for ever, or fail later in
the middle of a founding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_edge.port import split_address
from yinxin_proto.error import InvalidArgumentError, Violation, YinxinError
from yinxin_proto.name import parse_region_code
from yinxin_proto.sm2provider import provider
from yinxin_proto.suite import SM2, suite
from yinxin_trust.settings import Settings


def check_settings(settings: Settings) -> None:
    """Refuse settings under which no region can be founded.

    Raises:
        InvalidArgumentError: ``SETTINGS``, with a violation for each.
    """
    violations = list(_violations(settings))
    if violations:
        raise InvalidArgumentError(
            "the region cannot be founded under these settings",
            reason="SETTINGS",
            violations=violations,
        )


def _violations(settings: Settings) -> Iterator[Violation]:
    region, server = settings.region, settings.server
    yield from _refused("code", lambda: parse_region_code(region.code))
    yield from _refused("domain", lambda: principal_uri(region.domain, "x"))
    yield from _refused("name", lambda: Subject(organisation=region.name))
    yield from _refused("suite", partial(_check_suite, region.suite))
    if region.root_suite:
        yield from _refused("root_suite", partial(_check_suite, region.root_suite))
    yield from _refused("listen", lambda: split_address(server.listen))
    if settings.http.listen:
        yield from _refused("http", lambda: split_address(settings.http.listen))
    for host in server.names:
        yield from _refused("host", partial(AlternativeNames, dns=(host,)))
    for host in server.addresses:
        yield from _refused("host", partial(AlternativeNames, addresses=(host,)))


def _check_suite(name: str) -> None:
    if suite(name) is SM2:
        # With advice, before anything is made: not in the middle of a founding.
        provider().require()


def _refused(field: str, check: Callable[[], object]) -> Iterator[Violation]:
    try:
        check()
    except YinxinError as error:
        inner = error.violations[0].description if error.violations else error.message
        reason = error.violations[0].reason if error.violations else error.reason
        yield Violation(field, inner, reason)
