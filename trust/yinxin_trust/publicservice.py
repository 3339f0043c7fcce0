"""What a region serves over plain HTTP, by path: everything in it is signed.

===========================  ==============================================
``/crl/<list>.crl``          revocation lists, one per authority or shard
``/ca/<authority>.crt``      authorities' certificates (caIssuers)
``/ocsp``, ``/ocsp/<base64>``  RFC 6960 appendix A, RFC 5019
``/tsa``                     RFC 3161 §3.4
===========================  ==============================================
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from yinxin_ca.ocsp import MAX_REQUEST_BYTES, OcspReply, Refusal
from yinxin_edge.http import HttpRequest, HttpResponse, http_date
from yinxin_edge.journal import Journal
from yinxin_proto.crl import parse_crl
from yinxin_proto.error import YinxinError
from yinxin_trust.answering import Answering
from yinxin_trust.certification import ROOT, get_crl, issuing_cas
from yinxin_trust.region import Region
from yinxin_trust.trustlisting import get_anchors

_LABEL: Final = "[a-z]{1,16}(?:-[1-9][0-9]{0,5})?"
_CRL: Final = re.compile(rf"/crl/({_LABEL}(?:-s(?:0|[1-9][0-9]{{0,3}}))?)\.crl\Z")
_CERTIFICATE: Final = re.compile(rf"/ca/({_LABEL})\.crt\Z")
_LONGEST_KEPT: Final = timedelta(hours=1)
"""How long a list or certificate may be kept without asking again."""
_READING: Final = frozenset({"GET", "HEAD"})
_OCSP_REQUEST: Final = "application/ocsp-request"
_TIMESTAMP_QUERY: Final = "application/timestamp-query"
_NEVER_KEPT: Final = {"Cache-Control": "no-store"}


class PublicService:
    """Answers HTTP requests; any thread.

    Args:
        region: Opened.
        answering: Its responder and time-stamper.
        journal: What could not be answered goes there.
    """

    def __init__(self, *, region: Region, answering: Answering, journal: Journal) -> None:
        self._region = region
        self._answering = answering
        self._journal = journal

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if request.path == "/ocsp" or request.path.startswith("/ocsp/"):
            return self._ocsp(request)
        if request.path == "/tsa":
            return self._timestamp(request)
        found = _CRL.match(request.path) or _CERTIFICATE.match(request.path)
        if found is None:
            return HttpResponse(status=HTTPStatus.NOT_FOUND)
        if request.method not in _READING:
            return _not_allowed("GET, HEAD")
        if found.re is _CRL:
            return self._list(request, found[1])
        return self._certificate(request, found[1])

    def _list(self, request: HttpRequest, name: str) -> HttpResponse:
        with self._region.storage.read() as conn:
            crl = get_crl(conn, name)
        if crl is None:
            return HttpResponse(status=HTTPStatus.NOT_FOUND)
        this_update, next_update = _dates(crl)
        headers = self._kept(crl, this_update, next_update)
        return _unless_known(request, "application/pkix-crl", crl, headers)

    def _certificate(self, request: HttpRequest, name: str) -> HttpResponse:
        with self._region.storage.read() as conn:
            certificates = {ca.label: ca.certificate for ca in issuing_cas(conn)}
            certificates[ROOT] = get_anchors(conn).root
        der = certificates.get(name)
        if der is None:
            return HttpResponse(status=HTTPStatus.NOT_FOUND)
        now = self._region.clock.now()
        headers = self._kept(der, None, now + _LONGEST_KEPT)
        return _unless_known(request, "application/pkix-cert", der, headers)

    def _ocsp(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and request.path == "/ocsp":
            if _media_type(request) != _OCSP_REQUEST:
                return HttpResponse(status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            asked = request.body
        elif request.method in _READING and request.path.startswith("/ocsp/"):
            asked = _from_path(request.path.removeprefix("/ocsp/"))
        else:
            return _not_allowed("GET, HEAD, POST")
        reply = self._answer(asked)
        headers = self._ocsp_headers(reply, request.method)
        return HttpResponse(
            content_type="application/ocsp-response", body=reply.der, headers=headers
        )

    def _answer(self, asked: bytes) -> OcspReply:
        try:
            return self._answering.responder.answer(asked)
        except YinxinError as error:
            # A register or a key is out of reach: nobody is told that anything is good.
            self._journal.error("ocsp_failed", error)
            return OcspReply(Refusal.TRY_LATER.to_bytes_der())

    def _ocsp_headers(self, reply: OcspReply, method: str) -> Mapping[str, str]:
        if reply.this_update is None or reply.next_update is None or method == "POST":
            return _NEVER_KEPT
        return self._kept(reply.der, reply.this_update, reply.next_update)

    def _timestamp(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return _not_allowed("POST")
        if _media_type(request) != _TIMESTAMP_QUERY:
            return HttpResponse(status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            reply = self._answering.stamper().answer(request.body)
        except YinxinError as error:
            # The book or the key cannot be had: nothing was stamped.
            self._journal.error("timestamp_failed", error)
            return HttpResponse(
                status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "60"}
            )
        if reply.failure is not None:
            self._journal.warning("timestamp_refused", failure=reply.failure.name)
        return HttpResponse(
            content_type="application/timestamp-reply", body=reply.der, headers=_NEVER_KEPT
        )

    def _kept(self, body: bytes, since: datetime | None, until: datetime) -> dict[str, str]:
        """Return how long a signed object may be kept (RFC 5019 §6.2)."""
        age = min(max(until - self._region.clock.now(), timedelta(0)), _LONGEST_KEPT)
        headers = {
            "Cache-Control": f"max-age={int(age.total_seconds())}, public, no-transform, "
            "must-revalidate",
            "Expires": http_date(self._region.clock.now() + age),
            "ETag": f'"{sha256(body).hexdigest()}"',
        }
        if since is not None:
            headers["Last-Modified"] = http_date(since)
        return headers


@lru_cache(maxsize=64)
def _dates(crl: bytes) -> tuple[datetime, datetime]:
    said = parse_crl(crl).content
    return said.this_update, said.next_update


def _unless_known(
    request: HttpRequest, content_type: str, body: bytes, headers: Mapping[str, str]
) -> HttpResponse:
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known:
        return HttpResponse(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return HttpResponse(content_type=content_type, body=body, headers=headers)


def _from_path(text: str) -> bytes:
    """Return a request that came as base64 in a path (RFC 6960 appendix A.1).

    What is none goes on as nothing: the responder says that it is malformed.
    """
    try:
        raw = unquote_to_bytes(text)
        if len(raw) > MAX_REQUEST_BYTES * 4 // 3 + 4:
            return b""
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _media_type(request: HttpRequest) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_allowed(methods: str) -> HttpResponse:
    return HttpResponse(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": methods})
