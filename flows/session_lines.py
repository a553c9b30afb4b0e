"""What is said of a session, of what it was made from and of what became of a file, in lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.ingest.session import Session


def stream_line(stream: dict[str, Any]) -> str:
    """`eeg (eeg): 19 channels, 19700 samples at 500 Hz [uV], 0.000 to 39.400 s, 1 gap, 2.500 s in all`."""
    from neuroloom.ingest.words import count

    counted = {"units": "spike", "intervals": "interval", "trials": "trial"}.get(
        stream["modality"], "sample" if stream["rate_hz"] else "event"
    )
    of = [count(stream["n_channels"], "unit" if counted == "spike" else "channel")] if stream["n_channels"] else []
    rate = f" at {stream['rate_hz']:g} Hz" if stream["rate_hz"] else ""
    unit = f" [{stream['unit']}]" if stream["unit"] else ""
    parts = [*of, f"{count(stream['n_samples'], counted)}{rate}{unit}"]
    if stream["n_samples"]:
        parts.append(f"{stream['start_s']:.3f} to {stream['start_s'] + stream['duration_s']:.3f} s")
    if stream.get("n_gaps"):
        parts.append(f"{count(stream['n_gaps'], 'gap')}, {stream['gaps_s']:.3f} s in all")
    return f"{stream['name']} ({stream['modality']}): {', '.join(parts)}"


def sync_line(sync: dict[str, Any]) -> str:
    return (
        f"{sync['from']} -> {sync['to']}: {sync['residual_ms']:.2f} ms, {sync['drift_ppm']:.1f} ppm, "
        f"{sync['n_matched']} pulses matched, {sync['n_lost']} lost, {sync['n_extra']} extra ({sync['method']})"
    )


def clock_checks(session: Session) -> list[dict[str, Any]]:
    """What else speaks for or against the clock maps, and what is to be known of them."""
    from dataclasses import asdict

    checks = [{"from": m.source} | asdict(check) for m in session.clock_maps for check in m.checks]
    checks += [
        {"from": m.source, "kind": "held-out error", "verdict": "", "words": _models(m.tried)}
        for m in session.clock_maps
        if m.tried
    ]
    notes = [
        {"from": m.source, "kind": "note", "verdict": "", "words": note} for m in session.clock_maps for note in m.notes
    ]
    return checks + notes


def _models(tried: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{model} {held_out_ms:.2f} ms" for model, held_out_ms in tried)


def check_line(check: dict[str, Any]) -> str:
    verdict = f"{check['verdict']}. " if check["verdict"] else ""
    return f"{check['kind']}: {verdict}{check['words']}"


def ledger_lines(entry: dict[str, str] | str) -> list[str]:
    """A fault that was mended as a diff: what the file has, what was used; a remark as it is."""
    from neuroloom.ingest.ledger import is_defect, told

    if isinstance(entry, str) or not is_defect(entry):
        return [f"    remark: {told(entry)}"]
    return [f"    - {entry['found']}", f"    + {entry['used']}"]


def quality_lines(name: str, finding: dict[str, Any]) -> list[str]:
    """What people must know; the numbers are in the JSON and on the page."""
    bad = [f"{channel} ({', '.join(reasons)})" for channel, reasons in finding.get("reasons", {}).items()]
    return [f"{name}: bad: {each}" for each in bad] + [f"{name}: {note}" for note in finding.get("notes", ())]


def unread_lines(result: dict[str, Any]) -> list[str]:
    """What lay beside the files of a session and nothing here reads, and how numbers among it can be."""
    from neuroloom.ingest import manifest

    sources = manifest.read(Path(result["file"]).parent)["sources"]
    unread = [str(name) for source in sources for name in source.get("unread", ())]
    numbers = any(Path(name).suffix.lower() in (".mat", ".npy", ".npz", ".csv", ".tsv") for name in unread)
    hint = "  a TOML beside numbers says what they are: `arrays` in docs/formats.md; then ingest it again"
    return [f"  not read: {', '.join(unread)}", *([hint] if numbers else [])] if unread else []


def reason_of(result: dict[str, Any]) -> str:
    """The reason without the path that stands before it already."""
    path = Path(result["path"])
    return str(result["reason"]).removeprefix(f"{path.resolve()}: ").removeprefix(f"{path}: ")
