"""Chunks packed here are HDF5's own, and the other way round."""

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroloom.ingest import chunks
from neuroloom.ingest._nwb_write import GZIP, LIBVER, bitshuffle

FILTERS = {"gzip": GZIP, "bitshuffle": {k: v for k, v in bitshuffle().items() if k != "allow_plugin_filters"}}
SHAPES = {"a table": ((2500, 7), (1000, 7)), "a column": ((5001,), (640,)), "one chunk": ((3, 5), (3, 5))}


@pytest.fixture(params=[(f, d, s) for f in FILTERS for d in ("<i2", "<i4", "<f8", "<u1") for s in SHAPES])
def case(request, tmp_path):
    """A writable file, what its datasets are made with, and values."""
    filters, dtype, shape = request.param
    size, chunk = SHAPES[shape]
    values = (np.random.default_rng(0).standard_normal(size) * 40).astype(dtype)
    made = {"shape": size, "dtype": dtype, "chunks": chunk, **FILTERS[filters]}
    with h5py.File(tmp_path / "a.h5", "w", libver=LIBVER) as file:
        yield file, made, values


def test_hdf5_reads_what_is_packed_here(case):
    file, made, values = case
    dataset = file.create_dataset("a", **made)
    codec = chunks.codec_of(dataset)
    assert codec is not None
    chunks.write_rows(dataset, codec, [(0, values)])
    file.flush()
    np.testing.assert_array_equal(file["a"][()], values)


def test_noisy_bytes_are_stored_and_the_others_deflated_in_one_stream_that_zlib_reads(tmp_path):
    n_rows = 70_001  # a plane of bytes is longer than a stored block may be
    values = np.random.default_rng(0).integers(0, 1 << 16, n_rows).astype("<i4")
    with h5py.File(tmp_path / "a.h5", "w", libver=LIBVER) as file:
        dataset = file.create_dataset("a", shape=(n_rows,), dtype="<i4", chunks=(n_rows,), **GZIP)
        codec = chunks.codec_of(dataset)
        chunks.write_rows(dataset, codec, [(0, values)])
        file.flush()
        np.testing.assert_array_equal(file["a"][()], values)
        np.testing.assert_array_equal(chunks.read_rows(dataset, codec, 0, n_rows), values)
        n_bytes = dataset.id.get_storage_size()
    planes = values.view(np.uint8).reshape(-1, 4)
    assert planes[:, 0].tobytes()[:65535] in (tmp_path / "a.h5").read_bytes()
    assert 2 * n_rows < n_bytes < 2.02 * n_rows  # two planes of noise, two of zeros


def test_what_hdf5_packed_is_read_here(case):
    file, made, values = case
    dataset = file.create_dataset("a", data=values, **made)
    file.flush()
    codec = chunks.codec_of(dataset)
    np.testing.assert_array_equal(chunks.read_rows(dataset, codec, 0, len(values)), values)
    np.testing.assert_array_equal(chunks.read_rows(dataset, codec, 1, len(values) - 1), values[1:-1])
    assert len(chunks.read_rows(dataset, codec, 2, 2)) == 0


def test_any_flipped_byte_is_noticed_as_hdf5_notices_it(case):
    file, made, values = case
    dataset = file.create_dataset("a", data=values, **made)
    file.flush()
    codec = chunks.codec_of(dataset)
    _, raw = dataset.id.read_direct_chunk((0,) * values.ndim)
    for at in np.linspace(0, len(raw) - 1, 25).astype(int):
        broken = bytearray(raw)
        broken[at] ^= 0x20
        with pytest.raises(chunks.ChunkError):
            codec.unpacked(bytes(broken))


def test_a_chunk_that_was_never_written_reads_as_hdf5_says(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver=LIBVER) as file:
        dataset = file.create_dataset("a", shape=(40, 2), dtype="<i2", chunks=(10, 2), fillvalue=3, **GZIP)
        file.flush()
        assert (chunks.read_rows(dataset, chunks.codec_of(dataset), 5, 33) == 3).all()


@pytest.mark.parametrize(
    "made",
    [
        {"compression": "gzip", "shuffle": True},
        {"fletcher32": True},
        {**hdf5plugin.Bitshuffle(cname="zstd"), "fletcher32": True},
        {"chunks": (10, 1), **GZIP},
        {"dtype": ">i2", **GZIP},
    ],
    ids=["no checksum", "no compression", "another inside", "chunks of one column", "the other byte order"],
)
def test_what_is_packed_otherwise_is_left_to_hdf5(made, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver=LIBVER) as file:
        dataset = file.create_dataset("a", shape=(40, 2), **{"dtype": "<i2", "chunks": (10, 2), **made})
        assert chunks.codec_of(dataset) is None
        chunks.write_rows(dataset, None, [(0, np.ones((30, 2))), (30, np.full((10, 2), 2))])
        assert dataset[:, 0].tolist() == [1] * 30 + [2] * 10


@given(st.binary(max_size=3000))
def test_the_checksum_is_that_of_the_definition(data):
    first = second = 0
    for at in range(0, len(data), 2):
        first = (first + int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")) % 65535
        second = (second + first) % 65535
    found = chunks.fletcher32(data)
    assert ((found >> 16) % 65535, (found & 0xFFFF) % 65535) == (second, first)
