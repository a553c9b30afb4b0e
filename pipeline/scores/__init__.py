"""What a trained network is worth: scores beside baselines and ceilings, pathways, damage, fidelity to its person."""
