"""Signals that end a command as Ctrl-C does: finished work is kept, and children end with it."""

from __future__ import annotations

import os
import signal

from sfbench.hardware.processes import TORCHRUN

SENT = (signal.SIGTERM, signal.SIGHUP)


def end_as_interrupts() -> None:
    """Let the signals by which clusters and terminals end a process interrupt it.

    A signal that is ignored (nohup) stays ignored. torchrun ends its processes by itself.
    """
    if TORCHRUN in os.environ:
        return
    for sent in SENT:
        if signal.getsignal(sent) is signal.SIG_DFL:
            signal.signal(sent, signal.default_int_handler)
