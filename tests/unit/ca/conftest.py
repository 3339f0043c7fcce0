"""Key stores of every kind, by name."""

from support.keystores import file_store, machine_store, memory_store, remote_store, token_store
from support.sdf_machine import machine
from support.softhsm import soft_token

__all__ = [
    "file_store",
    "machine",
    "machine_store",
    "memory_store",
    "remote_store",
    "soft_token",
    "token_store",
]
