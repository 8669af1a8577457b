#!/usr/bin/env python3
"""usage: read_with_gguf.py HEFT. Opens files that `heft convert` writes as .gguf with llama.cpp's Python package
(PyPI's gguf), and finds the same metadata and tensors, quantized ones too. Exit status 77, which Meson counts as skipped,
if it is not installed."""
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy
    from gguf import GGUFReader, GGUFWriter
    from gguf.constants import GGMLQuantizationType as Type
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]
random = numpy.random.default_rng(1)


def convert(*words):
    done = subprocess.run([heft, "convert", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_source(path, alignment):
    writer = GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    writer.add_block_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_token_list([f"token {i} é" for i in range(1000)] + ["", "\n"])
    writer.add_token_scores([0.25 * i for i in range(1002)])
    writer.add_token_types([1] * 1002)
    writer.add_bool("some.flag", True)
    writer.add_int64("some.i64", -(2**62))
    writer.add_uint64("some.u64", 2**64 - 1)
    writer.add_float64("some.f64", 0.1)
    for dtype in (numpy.float32, numpy.float16, numpy.float64, numpy.int8, numpy.int16, numpy.int32, numpy.int64):
        writer.add_tensor(f"plain.{numpy.dtype(dtype).name}", (random.random((3, 5, 7)) * 100).astype(dtype))
    for kind in (Type.Q4_0, Type.Q5_1, Type.Q8_0, Type.BF16):
        rows = random.random((4, 256)).astype(numpy.float32)
        writer.add_tensor(f"blk.0.{kind.name}", gguf.quants.quantize(rows, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fields(reader):
    return {key: (tuple(field.types), field.contents()) for key, field in reader.fields.items() if not key.startswith("GGUF.")}


def check_equal(found, expected):
    assert fields(found) == fields(expected)
    assert [tensor.name for tensor in found.tensors] == [tensor.name for tensor in expected.tensors]
    for a, b in zip(found.tensors, expected.tensors):
        assert a.tensor_type == b.tensor_type, a.name
        assert list(a.shape) == list(b.shape), a.name
        assert a.data.tobytes() == b.data.tobytes(), a.name
        assert a.data_offset % found.alignment == 0, a.name


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for alignment in (32, 128):
        write_source(folder / "source.gguf", alignment)
        convert(folder / "source.gguf", folder / "copy.gguf")
        check_equal(GGUFReader(folder / "copy.gguf"), GGUFReader(folder / "source.gguf"))

    # Dequantized tensors equal those of the package.
    convert(folder / "source.gguf", folder / "wide.gguf", "--dtype", "f32", "--select", "blk.*")
    source = {tensor.name: tensor for tensor in GGUFReader(folder / "source.gguf").tensors}
    for tensor in GGUFReader(folder / "wide.gguf").tensors:
        expected = gguf.quants.dequantize(source[tensor.name].data, source[tensor.name].tensor_type)
        assert tensor.tensor_type == Type.F32
        assert numpy.array_equal(tensor.data, expected), tensor.name

    # From another format.
    arrays = {"a.weight": random.random((2, 3)).astype("f4"), "b": numpy.arange(5, dtype="i4")}
    numpy.savez(folder / "arrays.npz", **arrays)
    convert(folder / "arrays.npz", folder / "arrays.gguf")
    found = {tensor.name: tensor.data for tensor in GGUFReader(folder / "arrays.gguf").tensors}
    for key, array in arrays.items():
        assert numpy.array_equal(found[key], array), key
print("the gguf package agrees")
