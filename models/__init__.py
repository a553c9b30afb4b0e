"""Networks shaped like a brain: torch only, no recordings.

    topology = Topology.read("four-areas")
    network = ModularNetwork(topology, area_size=32, bin_s=0.02, seed=0)
    network.attach("sub-01", inputs=[Port(...), ...], outputs=[Port(...), ...])

    network(session, inputs, masks=None, *, with_states=False) -> {output port: parameters_BTCP}
    network.readout(session, port_name).nll(parameters_BTCP, target_BTC, mask_BTC=None) -> nll_BTC, nats
    network.readout(session, port_name).mean(parameters_BTCP) -> mean_BTC ("choice": class probabilities, BTK)
    network.readout(session, port_name).start_at(mean_C, std_C)     optional, before training
    network.areas -> names;  network.unplaced(session) -> channels whose area is learned
    network.lesion(source, target), network.states(...), network.pathway_strengths(), network.spectral_radius()

`inputs` and `masks` map input port names to (B, T, C) tensors; masks are boolean, (B, T, C) or (B, T, 1). Outputs at
bin t use inputs at bins up to and including t, so whoever predicts what also comes in must lag the input. Inputs other
than counts and class numbers should be of about unit size. Only encoders and readouts differ between sessions.

A checkpoint is `network.state_dict()`; to load it, build the same network, attach the same sessions, `load_state_dict`.

Shapes: B batch, T bins, C channels, P parameters per channel, K classes.
"""

from .network import ModularNetwork
from .ports import Port
from .topology import Area, GlobalModule, Pathway, Topology, TopologyError

__all__ = ["Area", "GlobalModule", "ModularNetwork", "Pathway", "Port", "Topology", "TopologyError"]
