"""Recordings whose truth is known: a synthetic person, electrodes in a model teacher, and what was recovered."""
