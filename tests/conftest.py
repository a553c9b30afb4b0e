from hypothesis import settings

# The same examples at every run: a red test is a change in the code, not in the draw.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
