"""A graph of areas becomes a topology; its controls; a picture.

python docs/examples/bring_a_connectome.py [FOLDER FOR PICTURES]
"""

import sys
from pathlib import Path

import networkx as nx

from neuroloom.models import Topology

pictures = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
graph = nx.DiGraph(name="visuomotor")
for area, place_mm in {"V1": (-10, -80, 5), "PPC": (-30, -50, 50), "M1": (-36, -18, 55)}.items():
    graph.add_node(area, position_mm=place_mm)
graph.add_edge("V1", "PPC", weight=1.0, length_mm=80.0)
graph.add_edge("PPC", "M1", weight=0.5, length_mm=40.0)
graph.add_edge("M1", "PPC", weight=0.2, length_mm=40.0, sign=-1)

topology = Topology.from_networkx(graph)
print(topology)
print([f"{delay_s * 1000:.0f} ms" for delay_s in topology.delays_s()])
print(topology.rewired(seed=1), topology.dense(), topology.none(), sep="\n")

Path(pictures / "visuomotor.toml").write_text(topology.to_toml(), encoding="utf-8")  # `topology = "visuomotor.toml"`
Topology.read("desikan68").plot().savefig(pictures / "topology.png", dpi=80)
