"""No sockets: this process, and all it starts, can from now on call nobody. No root needed; never undone.

Landlock confines TCP and abstract sockets, but neither UDP nor sockets that have a path, behind which a database or
a container service may listen. The kernel's own filter of system calls (linux/seccomp.h) refuses `socket`, and
`io_uring_setup`, by which one could be made unseen; `socketpair` and pipes, which lead nowhere, stay.
Processors whose numbers of calls are not known here, and kernels without filters, are left as they are.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import sys

_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2  # prctl
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: load a word, compare with a constant, end
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4  # in what a filter is shown of a call
_OTHER_NUMBERS = 0x40000000  # x32, a second set of numbers on x86-64
_IO_URING_SETUP = 425
_KNOWN = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # AUDIT_ARCH, `socket`


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("constant", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def can_refuse() -> bool:
    """True where the calls of this processor are known."""
    return sys.platform == "linux" and platform.machine() in _KNOWN


def refuse_sockets() -> bool:
    """True where sockets are refused from now on; False where this kernel or processor cannot."""
    if not can_refuse():
        return False
    architecture, socket = _KNOWN[platform.machine()]
    # Each line: operation, constant, lines to skip where it holds, and where it does not.
    lines = (
        (_LOAD, _AT_ARCHITECTURE, 0, 0),
        (_EQUAL, architecture, 0, 5),
        (_LOAD, _AT_NUMBER, 0, 0),
        (_AT_LEAST, _OTHER_NUMBERS, 3, 0),
        (_EQUAL, socket, 2, 0),
        (_EQUAL, _IO_URING_SETUP, 1, 0),
        (_RETURN, _ALLOW, 0, 0),
        (_RETURN, _REFUSE, 0, 0),
    )
    program = (_Instruction * len(lines))(*(_Instruction(code, yes, no, k) for code, k, yes, no in lines))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return bool(libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(lines), program)), 0, 0) == 0)
