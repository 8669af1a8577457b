#!/usr/bin/env python3
"""usage: read_with_safetensors.py HEFT. Opens files that `heft convert` writes with the reference reader (PyPI's
safetensors, with numpy), and finds the same tensors. Exit status 77, which Meson counts as skipped, if it is not
installed."""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]


def convert(*words):
    subprocess.run([heft, "convert", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def check_equal(found, expected):
    assert sorted(found) == sorted(expected), (sorted(found), sorted(expected))
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def arrays():
    random = numpy.random.default_rng(1)
    made = {}
    for dtype in ("bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8", "c8"):
        for shape in ((), (0, 3), (5,), (2, 3, 4)):
            values = random.integers(0, 2 if dtype == "bool" else 100, shape)
            made[f"m.{dtype}.{'x'.join(map(str, shape)) or 'scalar'} \"é\""] = numpy.asarray(values).astype(dtype)
    return made


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    tensors = arrays()
    source = folder / "source.safetensors"
    save_file(tensors, source, metadata={"format": "np", "note": "a\n\"b\" é"})

    convert(source, folder / "copy.safetensors")
    check_equal(load_file(folder / "copy.safetensors"), tensors)
    with safe_open(folder / "copy.safetensors", "np") as copy, safe_open(source, "np") as original:
        assert copy.metadata() == original.metadata()
        assert list(copy.offset_keys()) == list(original.offset_keys()), "the order of the reference writer"

    convert(source, folder / "s.safetensors", "--shard-size", "300")
    index = json.loads((folder / "s.safetensors.index.json").read_text())
    merged = {}
    for shard in set(index["weight_map"].values()):
        part = load_file(folder / shard)
        assert all(index["weight_map"][key] == shard for key in part)
        merged.update(part)
    check_equal(merged, tensors)
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in tensors.values())

    convert(source, folder / "wide.safetensors", "--dtype", "f64", "--select", "m.f*")
    wide = {key: array.astype("f8") for key, array in tensors.items() if key.startswith("m.f")}
    check_equal(load_file(folder / "wide.safetensors"), wide)
print("the reference reader agrees")
