"""Any signal: channels that its file, or a sidecar of it, calls bad. Whoever recorded them knew something of them."""

from __future__ import annotations

from neuroloom.ingest.streams import Signal, Stream

from ._finding import Finding

TITLE = "channels that the file calls bad"
SAID = "said by the file"
COLUMN = "bad_in_file"  # of the table: true where the file says so
WHY = "status_description"  # of the table: in whose words, where there are any


def applies(stream: Stream) -> bool:
    """Signals whose file says anything of the kind."""
    return isinstance(stream, Signal) and COLUMN in stream.table


def check(stream: Signal) -> Finding:
    """Those channels, each with what the file says of it. Reads no samples."""
    why = stream.table.get(WHY, ("",) * len(stream.channel_names))
    rows = zip(stream.channel_names, stream.table[COLUMN], why, strict=True)
    return Finding(
        bad_channels={name: ": ".join(filter(None, (SAID, words))) for name, is_bad, words in rows if is_bad}
    )
