"""WHAT happens: plain functions from objects to objects, usable in a notebook with no server."""
