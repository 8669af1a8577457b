"""The Python package gguf. usage: gguf_peer.py open|view|load PATH [DTYPE]

Blocks are decoded by its numpy code, tensor by tensor. bf16 results are rounded by its quantize(), because numpy has no
bf16."""
import common


def converter(dtype):
    """Returns a function that copies a tensor's data to a new array of `dtype`."""
    import gguf
    import numpy

    def to_floats(tensor):
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type)

    if not dtype:
        return lambda tensor: numpy.array(tensor.data)
    if dtype == "bf16":
        return lambda tensor: gguf.quants.quantize(to_floats(tensor), gguf.GGMLQuantizationType.BF16)
    to = {"f32": numpy.float32, "f16": numpy.float16, "f64": numpy.float64}[dtype]
    return lambda tensor: numpy.array(to_floats(tensor), dtype=to)


def prepare(arguments):
    import gguf

    what, path = arguments[:2]
    convert = converter(arguments[2] if len(arguments) > 2 else "") if what == "load" else lambda tensor: tensor.data

    def work():
        reader = gguf.GGUFReader(path)
        tensors = {tensor.name: convert(tensor) for tensor in reader.tensors}
        return (reader, tensors), sum(int(t.nbytes) for t in tensors.values()), f"gguf, {len(tensors)} tensors"

    return work


common.run(prepare)
