"""Two devices, each on its own clock, become one session; what it holds, printed and drawn.

python docs/examples/look_at_a_session.py [FOLDER FOR PICTURES]
"""

import sys
from pathlib import Path

from neuroloom.ingest import read
from neuroloom.pipeline import align

pictures = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
recordings = read("sample_data/person")  # one Recording per device; headers only
session = align(recordings)  # one clock from here on

print(*recordings, sep="\n")
print(*session.streams, sep="\n")
print(session.clock_maps[0])

go = session["markers"].labelled("S 11", "S 12")  # the moments a trial began
print(len(go.times_s), "trials, the first at", round(float(go.times_s[0]), 3), "s")

values = session["gaze"].between(10.0, 10.01).values()  # reads these samples alone
print("gaze from 10.00 to 10.01 s:", [piece.shape for piece in values], session["gaze"].unit)

session.plot(8, 14, streams=["eeg", "markers", "gaze", "pupil"]).savefig(pictures / "session.png", dpi=70)
