"""From published sessions to a trained network: features, windows, objectives, the training, searches over it."""
