#!/usr/bin/env python3
"""usage: compare_with_gguf.py HEFT [FOLDER_OF_FIXTURES]. Compares heft with ggml's Python package (PyPI's gguf)
on the same files: every name, shape, type, offset and metadata value, and every value of every type that the package
decodes, bit for bit, as f32, f16 and bf16. Exit status 77, which Meson counts as skipped, if it is not installed."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import numpy
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter, GGUFEndian
    from gguf.quants import dequantize, quantize
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

heft = sys.argv[1]
fixtures = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
PLAIN = {"F32", "F16", "F64", "I8", "I16", "I32", "I64"}
# A row must be whole superblocks of 256 elements. This is a few of them, and whole blocks of every smaller type.
ROWS, COLUMNS = 7, 1024


def run(*words):
    return subprocess.run([heft, *map(str, words)], check=True, capture_output=True, text=True).stdout


# ---- files ----

def random_blocks(random, qtype):
    """Returns random blocks, NaN and infinite scales among them."""
    elements, size = GGML_QUANT_SIZES[qtype]
    return random.integers(0, 256, (ROWS, COLUMNS // elements * size), numpy.uint8)


def quantized_types():
    """Returns (type, True if the package quantizes to it) for all types that the package decodes."""
    probe = numpy.zeros((1, COLUMNS), numpy.float32)
    for qtype in GGMLQuantizationType:
        if qtype.name in PLAIN:
            continue
        try:
            yield qtype, quantize(probe, qtype) is not None
        except NotImplementedError:
            try:
                dequantize(numpy.zeros((1, COLUMNS // GGML_QUANT_SIZES[qtype][0] * GGML_QUANT_SIZES[qtype][1]), numpy.uint8), qtype)
                yield qtype, False
            except NotImplementedError:
                pass  # Q8_1, Q8_K and types newer than the package


def write_all_types(path, random):
    """Writes one or two tensors of every type, and a metadata value of every kind."""
    writer = GGUFWriter(path, "heft-test")
    writer.add_string("test.text", "é \"\\\n\t☃")
    writer.add_array("test.texts", ["", "a", "\u0120the", "x" * 300])
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.reals", [0.5, -1e30])
    writer.add_array("test.truths", [True, False])
    for name, value in (("uint8", 255), ("int8", -128), ("uint16", 65535), ("int16", -32768), ("uint32", 2**32 - 1), ("int32", -(2**31)),
                        ("uint64", 2**64 - 1), ("int64", -(2**63)), ("float32", 0.1), ("float64", 0.1), ("bool", True)):
        getattr(writer, f"add_{name}")(f"test.{name}", value)
    for dtype in (numpy.float32, numpy.float16, numpy.float64, numpy.int8, numpy.int16, numpy.int32, numpy.int64):
        writer.add_tensor(f"plain.{numpy.dtype(dtype).name}", (random.standard_normal((3, 5, 4)) * 100).astype(dtype))
    for qtype, quantizes in quantized_types():
        if quantizes:
            values = (random.standard_normal((ROWS, COLUMNS)) * 10.0 ** random.integers(-4, 4, (ROWS, 1))).astype(numpy.float32)
            writer.add_tensor(f"quantized.{qtype.name}", quantize(values, qtype), raw_dtype=qtype)
        if qtype.name != "BF16":
            writer.add_tensor(f"random.{qtype.name}", random_blocks(random, qtype), raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_big_endian(path, random):
    writer = GGUFWriter(path, "heft-test", endianess=GGUFEndian.BIG)
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_float64("test.float64", 0.1)
    writer.add_tensor("f32", random.standard_normal((3, 4)).astype(numpy.float32))
    writer.add_tensor("f16", random.standard_normal((3, 4)).astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- heft's output ----

def safetensors_arrays(path):
    """Reads safetensors by hand, so that no other package is required: the header is JSON."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
    arrays = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            arrays[name] = numpy.frombuffer(data[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return arrays


# ---- comparisons ----

def check_structure(path):
    """Compares names, shapes, types, offsets and metadata."""
    reader = GGUFReader(path)
    found = [json.loads(line) for line in run("ls", path, "--json").splitlines()]
    assert len(found) == len(reader.tensors), path
    by_name = {tensor["name"]: tensor for tensor in found}
    for tensor in reader.tensors:
        entry = by_name[tensor.name]
        assert entry["dtype"] == tensor.tensor_type.name.lower(), (tensor.name, entry)
        assert entry["shape"] == [int(size) for size in reversed(tensor.shape)], (tensor.name, entry)
        assert entry["bytes"] == tensor.n_bytes and entry["offset"] == tensor.data_offset, (tensor.name, entry)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    metadata = json.loads(run("tree", path, "--metadata", "--json"))
    assert list(metadata) == list(fields), (list(metadata), list(fields))
    for key, field in fields.items():
        expected = field.contents()
        assert metadata[key] == (expected.tolist() if isinstance(expected, numpy.ndarray) else expected), key
    return len(found), len(fields)


def same_bits(found, expected):
    """Returns true for equal values; all NaNs are equal, because the bits of a product of NaNs depend on the processor."""
    unsigned = {2: numpy.uint16, 4: numpy.uint32}[expected.dtype.itemsize]
    if expected.dtype.kind == "f":
        nan = numpy.isnan(found) & numpy.isnan(expected)
    else:  # bf16, as bits
        nan = ((found & 0x7FFF) > 0x7F80) & ((expected & 0x7FFF) > 0x7F80)
    return bool(numpy.all((found.view(unsigned) == expected.view(unsigned)) | nan))


def rounded(floats, dtype):
    if dtype == "bf16":
        return numpy.asarray(quantize(floats, GGMLQuantizationType.BF16)).view(numpy.uint16)
    return floats.astype({"f32": numpy.float32, "f16": numpy.float16}[dtype])


def floats_of(tensor):
    """Returns f32 values. Plain floats bypass the package's dequantize(), which takes them for little-endian ones."""
    if tensor.tensor_type.name in PLAIN:
        return tensor.data.astype(numpy.float32)
    return numpy.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type))


def check_values(path, folder):
    reader = GGUFReader(path)
    compared = 0
    for dtype in ("f32", "f16", "bf16"):
        converted = folder / f"{dtype}.safetensors"
        run("convert", path, converted, "--dtype", dtype)
        arrays = safetensors_arrays(converted)
        for tensor in reader.tensors:
            if tensor.tensor_type.name.startswith("I") and not tensor.tensor_type.name.startswith("IQ"):
                assert arrays[tensor.name].tobytes() == tensor.data.tobytes(), tensor.name
                continue
            if tensor.tensor_type.name == "F64":
                continue  # rounded once by heft, twice by way of the package's f32
            with numpy.errstate(all="ignore"):
                expected = rounded(floats_of(tensor), dtype)
            assert arrays[tensor.name].shape == expected.shape, tensor.name
            assert same_bits(arrays[tensor.name], expected), (dtype, tensor.name)
            compared += 1
    return compared


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    random = numpy.random.default_rng(20)
    write_all_types(folder / "all.gguf", random)
    tensors, keys = check_structure(folder / "all.gguf")
    compared = check_values(folder / "all.gguf", folder)
    quantizes = sum(can for _, can in quantized_types())
    print(f"{tensors} tensors, {keys} keys, {quantizes} types quantized by gguf, {compared} tensors decoded alike")
    assert quantizes >= 9 and compared >= 3 * 30
    write_big_endian(folder / "big.gguf", random)
    check_structure(folder / "big.gguf")
    check_values(folder / "big.gguf", folder)

if fixtures and fixtures.exists():
    for path in sorted((fixtures / "ggerganov+llama.cpp").rglob("*.gguf")):
        tensors, keys = check_structure(path)
        print(f"{path.name}: {tensors} tensors and {keys} keys alike")
print("gguf agrees")
