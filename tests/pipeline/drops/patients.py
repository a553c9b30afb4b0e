"""Small EDF files whose headers name a patient."""

import numpy as np

PATIENT = "MCH-0234567 F 02-MAY-1951 Haagse_Harry"


def edf_file(path, *, bdf=False, patient=PATIENT, seed=1, day="06.05.24"):
    """Ten seconds of one channel and a note that names the patient."""
    width = 3 if bdf else 2
    note = b"+0\x14\x14\0+3\x14Harry sleeps, Haagse H.\x14\0".ljust(60 * width, b"\0")
    fixed = (b"\xffBIOSEMI" if bdf else b"0".ljust(8)) + patient.encode().ljust(80)
    fixed += b"Startdate 06-MAY-2024 X X X".ljust(80) + day.encode() + b"10.00.00" + b"768".ljust(8)
    fixed += (b"BDF+C" if bdf else b"EDF+C").ljust(44) + b"1".ljust(8) + b"10".ljust(8) + b"2".ljust(4)
    label = b"BDF Annotations" if bdf else b"EDF Annotations"
    rows = [(b"Cz", label, 16), (b"", b"", 80), (b"uV", b"", 8), (b"-100", b"-1", 8), (b"100", b"1", 8)]
    rows += [(b"-32768", b"-32768", 8), (b"32767", b"32767", 8), (b"", b"", 80), (b"1000", b"60", 8), (b"", b"", 32)]
    header = fixed + b"".join(one.ljust(n) + other.ljust(n) for one, other, n in rows)
    samples = np.random.default_rng(seed).integers(-9000, 9000, 1000, dtype="<i4").view(np.uint8).reshape(-1, 4)
    path.write_bytes(header + samples[:, :width].tobytes() + note)
    return path
