"""WHEN, WHERE, HOW OFTEN: the only folder that may import Prefect."""
