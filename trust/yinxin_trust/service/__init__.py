"""The region's contracts over gRPC: one servicer each, thin."""

from yinxin_trust.service.registry import CALL_LIMITS, services

__all__ = ["CALL_LIMITS", "services"]
