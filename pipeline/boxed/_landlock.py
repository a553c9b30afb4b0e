"""Landlock: this process, and all it starts, may from now on open only what is named. No root needed; never undone.

The kernel's own interface (linux/landlock.h, ABI 1 to 7), by three system calls that have one number on every
architecture. Rights the running kernel does not know are left out; a kernel without Landlock gives version 0.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38  # prctl

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE  # the others are of folders
_N_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # by ABI: which of the file system's rights the kernel knows; later ones 16
_TCP = 0b11  # bind, connect; from ABI 4
_SCOPES = 0b11  # abstract sockets and signals stay among those who are confined together; from ABI 6

LIST = _READ_DIR
READ = _READ_FILE | _READ_DIR
RUN = READ | _EXECUTE
WRITE = READ | _WRITE_FILE | _TRUNCATE | 0b1_1111_1111_1111 & ~_EXECUTE  # make and remove what lies beneath


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The ABI of the running kernel, 0 where it has no Landlock."""
    if sys.platform != "linux":
        return 0
    found = int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))
    return max(found, 0)


def restrict(rules: Iterable[tuple[Path, int]]) -> None:
    """Allow these rights beneath these paths and nothing else; no TCP, no signals to others.

    A path that is not there is left out.
    Raises OSError where the kernel refuses; call it only where `version()` is not 0.
    """
    abi = version()
    known = (1 << _N_RIGHTS.get(abi, 16)) - 1
    attributes = _Ruleset(known, _TCP, _SCOPES)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8  # an older kernel knows a shorter structure
    ruleset = _called(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & known)
        if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "new privileges cannot be given up")
        _called(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        if rights:
            _called(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_PathBeneath(rights, parent)), 0)
    finally:
        os.close(parent)


def _called(number: int, *arguments: object) -> int:
    found = int(_libc().syscall(number, *arguments))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
