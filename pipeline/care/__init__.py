"""What happens to sessions and runs once they are there: checked, traced, made anew, exported, withdrawn, deleted."""
