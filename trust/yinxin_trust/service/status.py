"""StatusService: signed status lists, now and as they were."""

from __future__ import annotations

import grpc

from yinxin_proto.v1.status_pb2 import GetStatusListRequest, StatusList
from yinxin_proto.v1.status_pb2_grpc import StatusServiceServicer
from yinxin_trust.service.admission import Admission
from yinxin_trust.service.timestamp import of
from yinxin_trust.status import token_at
from yinxin_trust.storage import Storage


class StatusServicer(StatusServiceServicer):
    """Serves status lists as they were signed and kept.

    Args:
        admission: Who may call.
        storage: The region's database.
    """

    def __init__(self, *, admission: Admission, storage: Storage) -> None:
        self._admission = admission
        self._storage = storage

    def GetStatusList(
        self, request: GetStatusListRequest, context: grpc.ServicerContext
    ) -> StatusList:
        """Get the newest token of a list, or the one in force at a time."""
        with self._admission.admit(request.context) as visit:
            at = visit.form.moment("time", request.time, given=request.HasField("time"))
            visit.form.present("uri", request.uri)
            visit.form.check()
            with self._storage.read() as conn:
                found = token_at(conn, request.uri, at)
            visit.resource(found.uri)
            return StatusList(
                uri=found.uri,
                token=found.token,
                issue_time=of(found.issued_at),
                expire_time=of(found.expires_at),
                log_size=found.log_size,
            )
