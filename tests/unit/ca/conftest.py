"""Key stores of every kind, by name."""

from support.keystores import file_store, memory_store, token_store
from support.softhsm import soft_token

__all__ = ["file_store", "memory_store", "soft_token", "token_store"]
