"""One file per teacher: `teachers/toggle.py` *is* the teacher "toggle". The folder is the registry.

A teacher is a network whose inside can be recorded, and whose truth may be known. Every file has

    Settings            frozen, keyword-only dataclass: everything that decides the teacher
    make(settings, *, cache=None, progress=None) -> Teacher
                        cache: folder in which a trained teacher is kept under a digest of its settings
                        progress: called with (step, steps, loss) while it trains
    example() -> Teacher                a tiny one, in a second or two, as documentation and for the tests

and a `Teacher` (see `_teacher.py`) yields, for symbols it reads, its states per layer, its attention, its output
distribution, behaviour sampled from that, and, where the truth is known, an oracle. It knows nothing of electrodes.

Files whose name starts with `_` are shared code. Other packages add teachers through the entry point group
"neuroloom.teachers".
"""

from __future__ import annotations

from .._registry import Registry
from ._teacher import Oracle, Reading, Teacher, Watched, sampled

__all__ = ["Oracle", "Reading", "Teacher", "Watched", "kinds", "sampled"]

kinds = Registry(__name__, __path__, "neuroloom.teachers", "teacher")
