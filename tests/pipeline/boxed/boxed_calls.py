"""What a reader should not do, to be called in a box."""

import ctypes
import json
import os
import signal
import socket
import time
from pathlib import Path


def count(path, progress):
    progress(f"reading {Path(path).name}")
    return {"n_bytes": len(Path(path).read_bytes())}


def write(path, progress):
    Path(path).write_text("written")


def crash(progress):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(progress):
    time.sleep(3600)


def spin(progress):
    while True:
        pass


def open_many(path, progress):
    held = []
    while len(held) < 100_000:
        held.append(open(path, "rb"))  # noqa: SIM115 - none of them is closed
    return len(held)


def fill_memory(progress):
    block = bytearray(8 << 30)
    block[:: 1 << 12] = b"x" * ((8 << 30) >> 12)


def refuse(progress):
    raise ValueError("odd.edf: 3 channels found, 4 wanted")


def stop(progress):
    raise RuntimeError("an assertion of the reader")


def leave(progress):
    os._exit(0)


def _say(line):
    """Into every pipe that is open, with as many open as a process may have."""
    for descriptor in range(3, 4096):
        try:
            os.write(descriptor, line)
        except OSError:
            continue


def chatter(progress):
    _say(b"not JSON\n")


def feign(pid, progress):
    """To be another process, and to be over, with one more word for the next call."""
    for words in ({"started": pid}, {"ended": 0, "gave": "feigned"}, {"started": pid}):
        _say(json.dumps(words).encode() + b"\n")
    time.sleep(3600)


def leave_a_talker(progress):
    """Go, and leave a process of another session that says more and more."""
    if os.fork() == 0:
        os.setsid()
        for _ in range(20):
            _say(b'{"gave": "late"}\n')
            time.sleep(0.05)
        os._exit(0)
    time.sleep(0.3)
    return "on time"


def say_on(progress):
    while True:
        progress("still reading")


def say_no_end(progress):
    for descriptor in range(3, 4096):
        try:
            while True:
                os.write(descriptor, b"x" * (1 << 20))
        except OSError:
            continue


def connect(port, progress):
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return "connected"


def connect_to_path(path, progress):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)
        return "connected"


def send_a_datagram(port, progress):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        return caller.sendto(b"out", ("127.0.0.1", port))


def set_up_io_uring(progress):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "set up"


def talk_to_oneself(progress):
    here, there = socket.socketpair()
    here.send(b"in")
    return there.recv(2).decode()


def kill_parent(progress):
    os.kill(os.getppid(), signal.SIGTERM)


def leave_a_child(path, progress):
    if os.fork() == 0:
        time.sleep(1.0)
        Path(path).write_text("still here")
        os._exit(0)
    return "forked"
