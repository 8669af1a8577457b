#!/usr/bin/env python3
"""usage: read_with_numpy.py HEFT. Opens files that `heft convert` writes as .npz with NumPy, and with Python's
zipfile, which checks every CRC-32, and finds the same arrays. Exit status 77, which Meson counts as skipped, if NumPy is
not installed."""
import pathlib
import subprocess
import sys
import tempfile
import zipfile

try:
    import numpy
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]
dtypes = ("?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8", "c8", "c16")


def convert(*words, status=0):
    done = subprocess.run([heft, "convert", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr


def arrays():
    random = numpy.random.default_rng(1)
    made = {}
    for dtype in dtypes:
        for shape in ((), (0, 3), (5,), (2, 3, 4)):
            values = random.integers(0, 2 if dtype == "?" else 100, shape)
            made[f"m/{dtype.replace('?', 'b1')}.{'x'.join(map(str, shape)) or 'scalar'} é"] = numpy.asarray(values).astype(dtype)
    made["large"] = random.random((700, 9000))  # 50 MB: written in several chunks
    return made


def check_equal(path, expected):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0), member
    with numpy.load(path, allow_pickle=False) as found:
        assert sorted(found.files) == sorted(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype, name
            assert found[name].shape == array.shape, name
            assert found[name].tobytes() == array.tobytes(), name


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    tensors = arrays()
    numpy.savez(folder / "source.npz", **tensors)

    convert(folder / "source.npz", folder / "copy.npz")
    check_equal(folder / "copy.npz", tensors)
    # Arrays in column-major order and of the other byte order are written row-major, little-endian.
    odd = {"fortran": numpy.asfortranarray(tensors["large"][:3]), "big": numpy.arange(6, dtype=">i4").reshape(2, 3)}
    numpy.savez(folder / "odd.npz", **odd)
    convert(folder / "odd.npz", folder / "plain.npz")
    check_equal(folder / "plain.npz", {"fortran": odd["fortran"], "big": odd["big"].astype("<i4")})
    # More members than the end record can count.
    many = {f"t{i}": numpy.zeros((), "u1") for i in range(65537)}
    numpy.savez(folder / "many.npz", **many)
    convert(folder / "many.npz", folder / "many.npz")
    with numpy.load(folder / "many.npz") as found:
        assert len(found.files) == len(many) and found["t65536"] == 0
    print("numpy agrees")
