"""Where the electrodes of a Neuropixels probe lie, from Open Ephys' `settings.xml`.

The file is anybody's XML: one that declares a document type or entities, which may grow without end or name files
elsewhere, is not given to a parser at all. probeinterface then reads what it knows.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.probes import ProbeError, contact_columns
from neuroloom.ingest.streams import Table

MAX_SETTINGS_BYTES = 64 << 20
_DECLARES = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.I)


def sites(settings: Path, stream: str, n_channels: int, *, wide: bool) -> tuple[Table, str]:
    """Columns for a stream's channels, and why there are none. stream: the name of its folder."""
    problem = settings_problem(settings)
    if problem:
        return {}, problem
    import probeinterface

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe = probeinterface.read_openephys_neuropixels(settings, stream_name=stream, raise_error=True)
        if probe is None:
            return {}, "no probe of that name"
        return contact_columns(probe, n_channels, with_shifts=wide), ""
    except ProbeError as error:
        return {}, str(error)
    except Exception as error:  # noqa: BLE001  (probeinterface raises bare Exceptions; nothing of the recording depends on it)
        return {}, one_line(error)[:120]


def settings_problem(settings: Path) -> str:
    """Why a settings file is not looked into, "" where it is."""
    if not is_there(settings):
        return f"{settings.name} is not there"
    if settings.stat().st_size > MAX_SETTINGS_BYTES:
        return f"{settings.name} is larger than {MAX_SETTINGS_BYTES} bytes"
    raw = settings.read_bytes()
    if _DECLARES.search(raw) or raw[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in raw[:1000]:
        return f"{settings.name} declares entities or is not UTF-8: not parsed"
    return ""
