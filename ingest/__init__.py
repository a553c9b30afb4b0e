"""Recordings in, one-clock sessions out."""
