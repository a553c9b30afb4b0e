"""Nicolet export (EPILEPSIAE): a text `X.head` of key=value, and beside it `X.data`, int16, all channels of a sample
together; microvolts = number * conversion_factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._channel_list import Channel, signals_of
from neuroloom.ingest.formats._channels import kind_of
from neuroloom.ingest.formats._companions import beside
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._header_text import count, lines_of, real
from neuroloom.ingest.formats._mapped import Mapped, mapped
from neuroloom.ingest.formats._subjects import subject_of
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment
from neuroloom.ingest.timebase import Timebase

TITLE = "Nicolet export (.head, .data)"
MODALITY = "eeg"
KEEPS = "int16, names, start; not the numbers of patient and admission"
TESTED_ON = "a real file of MNE-Python"

_MAX_HEADER_BYTES = 1 << 20


def sniff(path: Path, head: bytes) -> bool:
    """True for a text that states a conversion factor, electrodes and bytes of a sample as these do."""
    keys = set(re.findall(rb"^(\w+)=", head, re.M))
    return keys >= {b"start_ts", b"num_samples", b"sample_freq", b"conversion_factor", b"num_channels", b"elec_names"}


def files(path: Path) -> tuple[Path, ...]:
    """The header and its data. Raises FormatError where those are missing."""
    return path, beside(path, f"{path.stem}.data", "the file of its samples")


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, in microvolts."""
    _, data = files(path)
    repairs: list[str] = []
    stated = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in _lines(path))}
    names = _names(path, stated)
    sample_bytes = count(path, stated, "sample_bytes") if "sample_bytes" in stated else 2
    if sample_bytes != 2:
        raise FormatError(f"{path}: sample_bytes is {sample_bytes}; 2 is wanted")
    wanted, found = count(path, stated, "num_samples"), data.stat().st_size
    if found != 2 * wanted * len(names):
        raise FormatError(
            f"{data}: {found} bytes; {path.name} states {len(names)} channels x {wanted} samples, so "
            f"{2 * wanted * len(names)} are wanted: still being copied, or cut off"
        )
    gain_uV = real(path, stated, "conversion_factor")
    base = Timebase(rate_hz=real(path, stated, "sample_freq", above=0), n_samples=wanted)
    segment = Segment(samples=Mapped(mapped(data, "<i2", (wanted, len(names)))), timebase=base)
    channels = [Channel(name=name, kind=kind_of(name) or "eeg", unit="uV", gain=gain_uV) for name in names]
    return [
        Recording(
            clock=path.stem,
            format="nicolet",
            files=(path, data),
            streams=tuple(signals_of([segment], channels, repairs)),
            start=iso_date(stated.get("start_ts", "")),
            repairs=tuple(repairs),
            subject=subject_of(code=stated.get("pat_id", "")),
        )
    ]


def _lines(path: Path) -> list[str]:
    return lines_of(path, most=_MAX_HEADER_BYTES)


def _names(path: Path, stated: Mapping[str, str]) -> list[str]:
    names = [name.strip() for name in stated.get("elec_names", "").strip("[]").split(",")]
    n_channels = count(path, stated, "num_channels")
    if len(names) != n_channels:
        raise FormatError(f"{path}: {n_channels} channels but {len(names)} names; they must match")
    return [name or f"Ch{k + 1}" for k, name in enumerate(names)]
