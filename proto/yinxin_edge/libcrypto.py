"""Which libcrypto signs SM2 in this process: the machine's, unless the environment names one."""

from __future__ import annotations

from os import environ

from yinxin_proto.sm2provider import SETTING, use


def choose_libcrypto() -> None:
    """Follow ``YINXIN_LIBCRYPTO``; call it first in every process.

    Nothing is loaded yet: a library that will not do is refused, with advice,
    when the first SM2 key is made or used.

    Raises:
        FailedPreconditionError: SM2 keys are in use with another (``LIBCRYPTO_IN_USE``).
    """
    if name := environ.get(SETTING, ""):
        use(name)
