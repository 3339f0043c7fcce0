"""What every command line of the house shows: texts in two languages, tables, errors, exit status.

A command raises `YinxinError` and nothing else; `run` turns it into one clear
message. The terminal that commands write to travels as the command context's
object: ``terminal: Terminal = context.obj``.
"""

from yinxin_edge.terminal.console import Terminal
from yinxin_edge.terminal.failure import EXIT_STATUSES, ExitStatus, exit_status, show_error
from yinxin_edge.terminal.help import localise
from yinxin_edge.terminal.program import run
from yinxin_edge.terminal.text import SHARED, Language, Texts

__all__ = [
    "EXIT_STATUSES",
    "SHARED",
    "ExitStatus",
    "Language",
    "Terminal",
    "Texts",
    "exit_status",
    "localise",
    "run",
    "show_error",
]
