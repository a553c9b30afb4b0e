"""A topology file: two areas that hear each other; light comes in by one, a hand is moved by the other."""

TWO_AREAS = """
name = "two"
[[areas]]
name = "V1"
position_mm = [0.0, -80.0, 10.0]
inputs = ["light"]
[[areas]]
name = "M1"
position_mm = [-40.0, 0.0, 50.0]
outputs = ["hand"]
[[pathways]]
source = "V1"
target = "M1"
length_mm = 90.0
[[pathways]]
source = "M1"
target = "V1"
length_mm = 90.0
kind = "feedback"
"""
