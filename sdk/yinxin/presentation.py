"""What is handed in to be verified: bytes, text, a file, or a licence just issued."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

from yinxin.licence import IssuedLicence
from yinxin_proto.error import FailedPreconditionError, MalformedError, NotFoundError
from yinxin_proto.licence import MAX_FILE_BYTES

Presentation: TypeAlias = bytes | str | Path | IssuedLicence
"""A licence file or an SD-JWT: its bytes, its text, the `Path` of a file, or an
`IssuedLicence` that came with its file. A text is never taken for a path."""

_LIMIT: Final = MAX_FILE_BYTES + 1


def read_presentation(presentation: Presentation) -> bytes:
    """Return the bytes of a presentation; no more than decide that it is too large.

    Raises:
        NotFoundError: No such file (``FILE_NOT_FOUND``).
        MalformedError: The file cannot be read (``FILE_UNREADABLE``).
        FailedPreconditionError: A licence without its file (``NO_FILE``).
    """
    if isinstance(presentation, bytes):
        return presentation
    if isinstance(presentation, str):
        return presentation.encode("utf-8", "surrogatepass")
    if isinstance(presentation, IssuedLicence):
        if presentation.file is None:
            raise FailedPreconditionError(
                "the licence came without its file; get it with its file", reason="NO_FILE"
            )
        return presentation.file
    try:
        with presentation.open("rb") as file:
            return file.read(_LIMIT)
    except FileNotFoundError as error:
        raise NotFoundError("there is no such licence file", reason="FILE_NOT_FOUND") from error
    except OSError as error:
        raise MalformedError("the licence file cannot be read", reason="FILE_UNREADABLE") from error
