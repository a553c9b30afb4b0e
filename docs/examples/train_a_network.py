"""A network of four areas predicts gaze from EEG and from where the eyes were, and is scored beside ridge regression.

python docs/examples/train_a_network.py [FOLDER FOR PICTURES]

Forty seconds of a synthetic person are enough to see every step, and too few to expect the network to win.
"""

import sys
from pathlib import Path

from neuroloom.ingest import read
from neuroloom.models import ModularNetwork, Topology
from neuroloom.pipeline import align, evaluate, train, windows

pictures = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
session = align(read("sample_data/person"))
data = windows([session], length_s=1.0, bin_s=0.05, inputs=("eeg", "gaze"), targets=("gaze",))
print(data)

topology = Topology.read("four-areas")
network = ModularNetwork(topology, area_size=8, bin_s=0.05, kind={"V1": "gated_linear"})
run = train(network, data, steps=60, batch_size=8, validate_every=10)
print(run)

scores = evaluate(run, data.held_out, baselines=("mean", "ridge"))
for row in scores:
    if not (row.channel or row.area):
        print(f"{row.port} {row.metric} {row.model}: {row.value:.2f} ({row.low:.2f} to {row.high:.2f})")

run.plot(scores).savefig(pictures / "run.png", dpi=80)
