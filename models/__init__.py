"""Networks shaped like a brain: torch only, no recordings."""
