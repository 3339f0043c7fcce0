"""The command line ``yinxin``: the SDK's own commands, and those that other roots add."""

from yinxin.command.application import main

__all__ = ["main"]
