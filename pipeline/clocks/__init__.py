"""Devices, each with its own clock, onto one time: pulses, codes, barcodes, and what else speaks for a fit."""
