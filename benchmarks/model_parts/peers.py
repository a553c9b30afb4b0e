"""Run by `models.py` with the peers' folder on its path: `python peers.py WHAT IN.npz OUT.npz`.

score    bits per spike as nlb_tools has it         gpfa, cebra    latents of every bin, from held-in units alone
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")


def score(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bits per spike of every prediction (K, T, C) of the counts (K, T, C), whole and per trial's share."""
    from nlb_tools.evaluation import bits_per_spike

    counts = data["counts"]
    return {
        name: np.array(bits_per_spike(data[name].astype(float).copy(), counts.copy()))
        for name in data
        if name != "counts"
    }


def gpfa(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gaussian-process factor analysis (Yu et al. 2009) as elephant has it: 8 latents, bins of 20 ms, square roots of
    counts, at most 200 trials to fit on; each latent stands for two bins."""
    import neo
    import quantities as pq
    from elephant.gpfa import GPFA

    counts, train = data["heard"].astype(int), np.flatnonzero(data["part"] == 0)
    rng, bin_s = np.random.default_rng(0), 0.01
    n_bins = counts.shape[1]

    def trains(trial: np.ndarray) -> list:
        found = []
        for unit in range(trial.shape[1]):
            bins = np.repeat(np.arange(n_bins), trial[:, unit])
            times = np.sort((bins + rng.uniform(0.01, 0.99, bins.size)) * bin_s)
            found.append(neo.SpikeTrain(times, units=pq.s, t_start=0 * pq.s, t_stop=n_bins * bin_s * pq.s))
        return found

    model = GPFA(bin_size=20 * pq.ms, x_dim=8, em_max_iters=30)
    model.fit([trains(counts[k]) for k in train[:: max(1, len(train) // 200)][:200]])
    latents = model.transform([trains(trial) for trial in counts], returned_data=["latent_variable_orth"])
    return {"latents": np.stack([np.repeat(one.T, 2, axis=0)[:n_bins] for one in latents])}


def cebra(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CEBRA with time as its label (Schneider et al. 2023): offset10-model, 8 dimensions, 300 iterations."""
    from cebra import CEBRA

    heard, train = data["heard"].astype(np.float32), data["part"] == 0
    model = CEBRA(
        model_architecture="offset10-model", batch_size=128, max_iterations=300, output_dimension=8, device="cpu",
        learning_rate=1e-3, time_offsets=5, verbose=False,
    )  # fmt: skip
    model.fit(heard[train].reshape(-1, heard.shape[2]))
    return {"latents": np.stack([model.transform(trial) for trial in heard])}


if __name__ == "__main__":
    what, source, out = sys.argv[1:]
    ways = {"score": score, "gpfa": gpfa, "cebra": cebra}
    np.savez(Path(out), **ways[what](dict(np.load(source))))
