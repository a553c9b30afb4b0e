"""The steps, one file each, in order of their numbers."""
