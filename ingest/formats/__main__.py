"""`python -m neuroloom.ingest.formats` prints `docs/formats.md`: per format what is kept, and whose files tested it."""

from __future__ import annotations

from neuroloom.ingest.formats import formats

HEAD = """# Formats

What a file is, is found from its content; its name does not matter. "Files written by this project" means that no real
file was at hand: the reader follows the format's description, and the stock reader agrees with it on our own files.

| format | what it is | holds mostly | what is kept | tested on |
|---|---|---|---|---|
"""

NOT_READ_HEAD = """
## Not read

What MNE-Python or Neo reads of EEG, MEG and fNIRS, and neuroloom does not. Files of these are quarantined; most of the
programs that write them export EDF, BDF, BrainVision, FIF or SNIRF, which are read.

| format | why |
|---|---|
"""
NOT_READ = {
    "FIF averages, events or sources alone": "no continuous recording; refused by name of what is in it",
    "FIF, zipped (.fif.gz)": "cannot be read in part; refused with the advice to unpack it",
    "NIRx (folder with .hdr, .wl1, .wl2)": "no file at hand; several files whose layout differs between versions",
    "BOXY (.txt), Hitachi (.csv)": "no file at hand; text without a signature",
    "Artemis123 (.bin)": "no file at hand",
    "FIL OPM (.bin)": "no file at hand; samples without a header, in the order of a table beside it",
    "Nexstim eXimia (.nxe)": "no header: names, rate and gains are not in the file, and nothing tells it from others",
    "StarStim (.nedf)": "no file at hand",
    "MEF 3 (.mefd)": "no file at hand; needs a library of its own",
    "BESA (.avr, .mul)": "averages, no recording",
    "Micromed (.trc)": "no file at hand; MNE-Python does not read it, Neo does",
    "Neuroscan epochs (.eeg) and averages (.avg)": "no recording; continuous data (.cnt) are read",
    "EGI simple binary cut into segments": "no file at hand; MNE-Python refuses them, too",
    "Curry before 7": "no file at hand",
}


def table() -> str:
    """The page, as Markdown."""
    rows = [
        f"| `{name}` | {form.TITLE} | {form.MODALITY} | {form.KEEPS} | {form.TESTED_ON} |"
        for name, form in formats().items()
    ]
    others = [f"| {name} | {why} |" for name, why in NOT_READ.items()]
    return HEAD + "\n".join(rows) + "\n" + NOT_READ_HEAD + "\n".join(others) + "\n"


if __name__ == "__main__":
    print(table(), end="")
