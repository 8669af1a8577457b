#!/usr/bin/env python3
"""usage: compare_with_numpy.py HEFT. Compares heft with numpy on files saved by numpy: every dtype, byte
order, layout and header version, alone and in archives, has numpy's dtype, shape and bytes. Exit status 77, which Meson
counts as skipped, if numpy is not installed."""
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]
VALUES = {"bool": "b1", "i8": "i1", "u8": "u1", "i16": "i2", "u16": "u2", "i32": "i4", "u32": "u4", "i64": "i8", "u64": "u8",
          "f16": "f2", "f32": "f4", "f64": "f8", "c64": "c8", "c128": "c16"}
SHAPES = ((), (1,), (5,), (0, 3), (3, 1), (2, 3, 4), (1,) * 8)


def run(*words):
    return subprocess.run([heft, *map(str, words)], check=True, capture_output=True, text=True).stdout


def arrays():
    """Returns arrays of every dtype in both byte orders, C and Fortran order, of several shapes; name: (heft's dtype, array)."""
    random = numpy.random.default_rng(7)
    made = {}
    for dtype, code in VALUES.items():
        for order in "<>":
            for shape in SHAPES:
                values = numpy.asarray(random.integers(0, 2 if dtype == "bool" else 100, shape)).astype(order + code)
                name = f"{dtype}{'.big' if order == '>' else ''}/{'x'.join(map(str, shape)) or 'scalar'}"
                made[name] = dtype, values
                made[f"{name}.fortran"] = dtype, numpy.asfortranarray(values)
    return made


def raw_arrays():
    """Returns arrays of dtypes that heft does not know. It lists their name, and hashes their bytes unchanged."""
    record = numpy.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", [("d", "S3")])])
    return {"bytes": numpy.array([b"ab", b"c"]), "text": numpy.array(["é", "abc"]), "date": numpy.array(["2020-01-01"], "M8[D]"),
            "delta": numpy.array([1, 2], "m8[ns]"), "void": numpy.zeros(2, "V3"), "record": numpy.zeros(3, record),
            "long": numpy.arange(3, dtype=numpy.longdouble)}


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()  # tobytes() is in C order


def native(array):
    return array.astype(array.dtype.newbyteorder("<"))


def listed(path):
    return {entry["name"]: entry for entry in map(json.loads, run("ls", path, "--json").splitlines())}


def hashes(path):
    return dict(reversed(line.split("  ", 1)) for line in run("hash", path).splitlines())


def check_archive(path, expected, raw):
    entries, found = listed(path), hashes(path)
    assert sorted(entries) == sorted([*expected, *raw]), path
    for name, (dtype, array) in expected.items():
        assert entries[name]["dtype"] == dtype and entries[name]["shape"] == list(array.shape), (path, name, entries[name])
        assert found[name] == digest(native(array)), (path, name)
    for name, array in raw.items():
        assert entries[name]["shape"] == list(array.shape) and entries[name]["bytes"] == array.nbytes, (path, name, entries[name])
        assert found[name] == digest(array), (path, name)


def check_file(path, dtype, array, version):
    with open(path, "wb") as file:
        numpy.lib.format.write_array(file, array, version=version)
    entry = listed(path)["arr_0"]
    assert entry["dtype"] == dtype and entry["shape"] == list(array.shape), (version, entry)
    assert hashes(path)["arr_0"] == digest(native(array)), version


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    made, raw = arrays(), raw_arrays()
    members = {name: array for name, (_, array) in made.items()} | raw
    numpy.savez(folder / "stored.npz", **members)
    numpy.savez_compressed(folder / "deflated.npz", **members)
    check_archive(folder / "stored.npz", made, raw)
    check_archive(folder / "deflated.npz", made, raw)
    for version in ((1, 0), (2, 0), (3, 0)):
        for key in ("f32/2x3x4", "f32.big/2x3x4", "i64/scalar", "c128.big/2x3x4.fortran"):
            check_file(folder / "one.npy", *made[key], version)
    numpy.save(folder / "objects.npy", numpy.array([{}]), allow_pickle=True)
    refusal = subprocess.run([heft, "ls", str(folder / "objects.npy")], capture_output=True, text=True)
    assert refusal.returncode == 2 and "pickle" in refusal.stderr, refusal
print(f"{2 * len(members)} members and 12 files alike")
