#!/usr/bin/env python3
"""usage: compare_with_packs.py HEFT. heft lists and hashes files of independent writers: burnpack with
the CBOR of PyPI's cbor2, Burn's records and Flax's files with the MessagePack of PyPI's msgpack, and Flax's own if it is
installed. Exit status 77, which Meson counts as skipped, if cbor2, msgpack or numpy are not installed. With a second
argument it leaves its files in that folder."""
import gzip
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import cbor2
    import msgpack
    import numpy
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]
random = numpy.random.default_rng(5)
BURN = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
        "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "Bool"}
HEFT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "complex64": "c64", "bool": "bool",
        **{f"{sign}int{bits}": f"{short}{bits}" for sign, short in (("", "i"), ("u", "u")) for bits in (8, 16, 32, 64)}}


def run(*words):
    return subprocess.run([heft, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def check(path, arrays):
    listed = {row["name"]: row for row in map(json.loads, run("ls", "--json", path).splitlines())}
    assert sorted(listed) == sorted(arrays), (path, sorted(listed), sorted(arrays))
    for name, array in arrays.items():
        assert listed[name]["dtype"] == HEFT[array.dtype.name], (path, name, listed[name])
        assert listed[name]["shape"] == list(array.shape), (path, name, listed[name])
        digest = hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()
        assert digest in run("hash", path, name), (path, name)
    print(f"{path.name}: {len(arrays)} tensors agree")


def arrays_of(dtypes):
    made = {}
    for dtype in dtypes:
        for shape in ((), (0, 3), (7,), (2, 3, 5)):
            made[f"layers.{dtype}.{'x'.join(map(str, shape)) or 'scalar'}"] = random.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    return made


# ---- burnpack, of the current Burn and of version 0.19 ----

def burnpack(arrays, aligned, bool_name):
    offset, data, described = 0, b"", {}
    for number, (name, array) in enumerate(arrays.items()):
        if aligned:
            data += bytes(-len(data) % 256)
            offset = len(data)
        dtype = bool_name if array.dtype == bool else BURN[array.dtype.name]
        described[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes], "param_id": 2**64 - 1 - number}
        data += array.tobytes()
        offset = len(data)
    scalars = {"epoch": {"UInt": 7}, "bias": {"Int": -3}, "rate": {"Float": 0.25}, "done": {"Bool": True}}
    metadata = cbor2.dumps({"tensors": dict(sorted(described.items())), "metadata": {"producer": "test"}, "scalars": scalars})
    head = struct.pack("<4sHI", b"NRUB", 1, len(metadata)) + metadata
    return head + (bytes(-len(head) % 256) if aligned else b"") + data


# ---- Burn's records ----

def nest(arrays, leaf):
    root = {}
    for number, (name, array) in enumerate(arrays.items()):
        *parts, last = name.split(".")
        node = root
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = {"id": f"p{number}", "param": leaf(array)}
    return root


def record(item, real):
    packer = msgpack.Packer(use_single_float=real != "f64")
    metadata = {"float": real, "int": "i64", "format": "NamedMpkFileRecorder", "version": "0.17.0", "settings": "FullPrecisionSettings"}
    return packer.pack({"metadata": metadata, "item": item, "_b": None})


def placed(array):
    dtype = {"Bool": "Native"} if array.dtype == bool else BURN[array.dtype.name]
    return {"bytes": array.tobytes(), "shape": list(array.shape), "dtype": dtype}


def listed(array):
    flat = array.ravel()
    return {"value": (flat.view("u2") if array.dtype == "f2" else flat).tolist(), "shape": list(array.shape)}


# ---- Flax ----

def flax_array(array):
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True))


def flax_chunks(array, size):
    flat = array.ravel()
    as_dict = lambda items: {str(number): item for number, item in enumerate(items)}
    return {"__msgpack_chunked_array__": True, "shape": as_dict(array.shape),
            "chunks": as_dict(flax_array(flat[begin:begin + size]) for begin in range(0, flat.size, size))}


def flat_tree(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat_tree(value, f"{prefix}{key}.")
        elif hasattr(value, "dtype"):
            yield f"{prefix}{key}", numpy.asarray(value)


def check_flax(folder):
    plain = arrays_of([*BURN, "complex64"])
    chunked = {f"big.{number}": random.random(shape).astype("f4") for number, shape in enumerate([(7, 11, 3), (1, 50), (50, 1), (2, 2, 2, 9), (40,)])}
    tree = {name: flax_array(array) for name, array in plain.items()}
    tree.update({name: flax_chunks(array, size) for name, array in chunked.items() for size in (13,)})
    tree.update({"step": 3, "z": msgpack.ExtType(2, msgpack.packb((1.0, 2.0))), "names": ["a", "b"], "none": None})
    path = folder / "hand.msgpack"
    path.write_bytes(msgpack.packb(tree))
    check(path, plain | chunked)
    try:
        import flax.serialization as flax
        import jax.numpy as jnp
    except ImportError as missing:
        print(f"flax itself is not installed: {missing}")
        return
    tree = {"params": {"dense": {"kernel": jnp.asarray(random.random((3, 5)), dtype=jnp.bfloat16), "bias": numpy.arange(5, dtype="f4")},
                       "embed": random.random((9, 7)).astype("f2")}, "step": numpy.int32(7), "rate": 0.5, "c": 1 + 2j, "name": "x"}
    flax.MAX_CHUNK_SIZE = 50
    path = folder / "flax.msgpack"
    path.write_bytes(flax.to_bytes(tree))
    check(path, dict(flat_tree(tree)))


def main(folder):
    arrays = arrays_of(BURN)
    for name, aligned, bool_name in (("new.bpk", True, {"Bool": "Native"}), ("old.bpk", False, "Bool"), ("bytes.bpk", True, {"Bool": "U8"})):
        (folder / name).write_bytes(burnpack(arrays, aligned, bool_name))
        check(folder / name, arrays)
    small = record(nest(arrays, placed), "f32")
    (folder / "new.mpk").write_bytes(small)
    check(folder / "new.mpk", arrays)
    with gzip.open(folder / "new.mpk.gz", "wb") as packed:
        packed.write(small)
    check(folder / "new.mpk.gz", arrays)
    for real, dtypes in (("f32", ["float32", "int64", "bool"]), ("f64", ["float64"]), ("half::binary16::f16", ["float16"])):
        some = {name: array for name, array in arrays_of(dtypes).items() if array.size}
        path = folder / f"old-{real.rpartition(':')[2]}.mpk"
        path.write_bytes(record(nest(some, listed), real))
        check(path, some)
    check_flax(folder)


if len(sys.argv) > 2:
    main(pathlib.Path(sys.argv[2]))
else:
    with tempfile.TemporaryDirectory() as name:
        main(pathlib.Path(name))
