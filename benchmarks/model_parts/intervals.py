"""How far a mean over systems can be trusted."""

import numpy as np
from scipy.stats import t as student_t


def interval(values: list[float], form: str) -> str:
    """The mean, with a 95 % interval by Student's t where there are several, each number in this form; "-" for none."""
    if len(values) < 2:
        return format(values[0], form) if values else "-"
    mean, half = np.mean(values), student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:{form}} ({mean - half:{form}} to {mean + half:{form}})"
