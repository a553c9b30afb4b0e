"""What a trained network does inside: pathways cut, areas pushed, what messages carry, where it rests, its ceilings.

python docs/examples/look_inside_a_network.py

Of a run in a store: `run, data = run_and_data(Store.here("store"), "reach")`, of `neuroloom.pipeline.runs.running` and
`neuroloom.pipeline.store`.
"""

import numpy as np

from neuroloom.ingest import read
from neuroloom.models import ModularNetwork, Topology
from neuroloom.models.currents import currents, lesioned, stimulated
from neuroloom.models.dynamics import fixed_points, lyapunov_exponents
from neuroloom.pipeline import align, evaluate, train, windows
from neuroloom.pipeline.scores.ceilings import repeatable_shares
from neuroloom.pipeline.scores.mechanism import mean_drive
from neuroloom.pipeline.scores.pathways import pathway_rows
from neuroloom.pipeline.scores.worse import worse_at_best

session = align(read("sample_data/person"))
data = windows([session], length_s=1.0, bin_s=0.05, inputs=("eeg", "gaze"), targets=("gaze", "pupil"))
run = train(ModularNetwork(Topology.read("four-areas"), area_size=8, bin_s=0.05), data, steps=60, batch_size=8)
network, name = run.network, session.id
print(*worse_at_best(run, data).lines() or ["every target is predicted better than by its mean"], sep="\n")

held_out = data.held_out.batch(name, data.held_out.tiles(name))  # every held-out window, (B, T, C)
arguments = name, held_out.inputs, held_out.input_masks

whole = lesioned(network, [], *arguments)
cut = lesioned(network, [("PPC", "FEF"), ("V1", "FEF")], *arguments)
for port, expected in whole.items():
    print(f"without PPC -> FEF and V1 -> FEF: {port} changes by {float((cut[port] - expected).abs().mean()):.3f}")

changes, states = stimulated(network, {"V1": 1.0}, *arguments, bins=(10, 12))  # 0.5 to 0.6 s
print("gaze, bin by bin after a push into V1:", changes["gaze"].abs().mean(dim=(0, 2))[9:16].numpy().round(3))
reached = states.abs().mean(dim=(0, 1, 3)).tolist()
print("areas it reached:", {area: round(change, 3) for area, change in zip(network.areas, reached, strict=True)})

flows = currents(network, *arguments)
for pathway, share in zip(network.topology.pathways, flows.shares()[0], strict=True):
    print(f"{pathway.source} -> {pathway.target}: {float(share):.0%} of the recurrent input of {pathway.target}")
for row in pathway_rows(run, data.held_out, data.validation)[:3]:
    lost, told = row.lesion["gaze"], row.carries["gaze"]
    print(f"{row.source} -> {row.target}: {lost:.3f} nats of gaze are lost without it, its messages tell R2 {told:.2f}")

drive = mean_drive(network, name, held_out)  # what the inputs give every unit on average, (N, H)
rest = fixed_points(network, drive_NH=drive, n_starts=8)
print(f"{len(rest.states)} fixed points, {rest.n_stable} attract, growth per bin {rest.growth.numpy().round(3)}")
print("largest exponents, 1/s:", lyapunov_exponents(network, 3, drive_NH=drive, n_bins=500).numpy().round(2))

scores = evaluate(run, data.held_out, baselines=("mean", "kalman", "average"))
for model in ("network", "kalman", "average"):
    print(f"gaze, {model}: R2 {scores.get(port='gaze', model=model).value:.2f}")
# NaN where fewer than three repeats were held out
shares = repeatable_shares(data.held_out, events="markers")[name]["gaze"]
print("share of the variance of gaze that repeats with the markers:", np.round(shares, 2))
