#!/usr/bin/env python3
"""Writes small files with the installed PyTorch, and expected.json with the tensors that PyTorch reads from them.

    python3 tests/torch/make_fixtures.py tests/torch/golden

The files under golden/ were written by PyTorch 2.13; tests/format/torch_golden.cpp compares. Tensors are listed under
heft's flat names, with their elements in row-major order as hexadecimal digits.
"""
import argparse
import collections
import json
import pathlib
import sys

import numpy
import torch

DTYPES = {
    torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32",
    torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.uint16: "u16", torch.uint32: "u32", torch.uint64: "u64",
    torch.bool: "bool", torch.complex32: "c32", torch.complex64: "c64", torch.complex128: "c128", torch.float8_e4m3fn: "f8_e4m3",
    torch.float8_e5m2: "f8_e5m2", torch.float8_e4m3fnuz: "f8_e4m3fnuz", torch.float8_e5m2fnuz: "f8_e5m2fnuz",
    torch.float8_e8m0fnu: "f8_e8m0",
}
LEGACY_DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
                 torch.uint8, torch.bool, torch.complex64, torch.complex128]
# Types without arithmetic: PyTorch can only view bytes as them.
RARE_DTYPES = {
    torch.float4_e2m1fn_x2: "f4_e2m1", torch.bits8: "bits8", torch.bits16: "bits16", torch.bits1x8: "bits1x8", torch.bits2x4: "bits2x4",
    torch.bits4x2: "bits4x2",
}
QUANTIZED_DTYPES = {torch.qint8: "qi8", torch.quint8: "qu8", torch.qint32: "qi32", torch.quint4x2: "qu4x2"}


def raw_bytes(tensor):
    """Returns the elements in row-major order, with lazy conjugation and negation applied."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.numel() == 0:
        return b""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def facts(tensor):
    """Returns heft's dtype and shape: it counts elements of float4, PyTorch counts bytes of two elements."""
    shape = list(tensor.shape)
    if tensor.dtype == torch.float4_e2m1fn_x2:
        shape[-1] *= 2
    return {"dtype": (DTYPES | RARE_DTYPES)[tensor.dtype], "shape": shape}


def dense(tensor):
    return facts(tensor) | {"bytes": raw_bytes(tensor).hex()}


def sparse_parts(tensor):
    if tensor.layout == torch.sparse_coo:
        return {"indices": tensor._indices(), "values": tensor._values()}
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return {"crow_indices": tensor.crow_indices(), "col_indices": tensor.col_indices(), "values": tensor.values()}
    return {"ccol_indices": tensor.ccol_indices(), "row_indices": tensor.row_indices(), "values": tensor.values()}


def tensor_entries(tensor, path, found, describe):
    if tensor.is_quantized:
        # The integers of the rows are packed across rows in the storage, four bits each.
        packed = tensor.dtype == torch.quint4x2
        integers = torch.tensor([], dtype=torch.uint8).set_(tensor.untyped_storage()) if packed else tensor.int_repr()
        found[path + ".int_repr"] = describe(integers) | {"dtype": QUANTIZED_DTYPES[tensor.dtype], "shape": list(tensor.shape)}
        if tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
            found[path + ".scales"] = describe(tensor.q_per_channel_scales())
            found[path + ".zero_points"] = describe(tensor.q_per_channel_zero_points())
    elif tensor.is_nested:
        parts = {"buffer": tensor.values(), "sizes": tensor._nested_tensor_size(), "strides": tensor._nested_tensor_strides(),
                 "offsets": tensor._nested_tensor_storage_offsets()}
        for name, part in parts.items():
            found[f"{path}.{name}"] = describe(part)
    elif tensor.layout != torch.strided:
        for name, part in sparse_parts(tensor).items():
            found[f"{path}.{name}"] = describe(part)
    elif tensor.is_meta:
        found[path] = facts(tensor)
    else:
        found[path] = describe(tensor)


def walk(value, path, found, describe=dense):
    """Adds describe() of each tensor to `found`, under heft's names."""
    stem = path + "." if path else ""
    if isinstance(value, torch.Tensor):
        tensor_entries(value, path or "tensor", found, describe)
    elif isinstance(value, torch.nn.Module):
        walk(value.state_dict(), path, found, describe)
    elif isinstance(value, numpy.ndarray):
        found[path] = describe(torch.from_numpy(numpy.ascontiguousarray(value)))
    elif isinstance(value, dict):
        for key, item in value.items():
            walk(item, stem + str(key), found, describe)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            walk(item, stem + str(index), found, describe)


def ramp(dtype, count=6):
    """Returns finite values, all different where the type allows."""
    if dtype == torch.bool:
        return torch.tensor([True, False, True, True, False, False])[:count]
    if dtype.itemsize == 1 and dtype.is_floating_point:
        return torch.arange(0x30, 0x30 + count, dtype=torch.uint8).view(dtype)
    if dtype.is_complex:
        return torch.complex(torch.arange(count).double(), -torch.arange(count).double()).to(dtype)
    return torch.arange(1, count + 1).to(dtype)


class Tagged(torch.Tensor):
    """A subclass whose instances carry attributes."""


def module():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2),
        torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2, bias=False), "bare": torch.nn.Identity()}))


def with_transient_buffer():
    made = torch.nn.Linear(2, 2)
    made.register_buffer("kept", torch.ones(2))
    made.register_buffer("left_out", torch.zeros(2), persistent=False)
    made.register_parameter("absent", None)
    return made


def nested():
    weight = torch.arange(6.0).reshape(2, 3)
    return {"epoch": 3, "model": collections.OrderedDict([("a.weight", weight), ("b.weight", weight.t())]),
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2), "step": torch.tensor(7.0)}, 1: {}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
            "list": [torch.zeros(1), "text", (torch.tensor(3), None)], "big": 2**80, "bytes": b"\x00\xff", "shared": [weight, weight]}


def training_step():
    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict()}


def views():
    base = torch.arange(24.0)
    return {"base": base, "t": base.reshape(4, 6).t(), "slice": base[5:11], "step": base[::3], "expand": base[0].expand(3, 4),
            "scalar": base[7], "overlap": base.as_strided((3, 3), (1, 1), 2), "empty": base[4:4], "zero": torch.zeros(2, 0, 3)}


def cases():
    yield "dtypes.pt", {name: ramp(dtype) for dtype, name in DTYPES.items()}, {}
    yield "dtypes.legacy.pt", {DTYPES[dtype]: ramp(dtype) for dtype in LEGACY_DTYPES}, {"_use_new_zipfile_serialization": False}
    yield "views.pt", views(), {}
    yield "views.legacy.pt", views(), {"_use_new_zipfile_serialization": False}
    for protocol in (2, 3, 4, 5):
        yield f"nested.protocol{protocol}.pt", nested(), {"pickle_protocol": protocol}
    yield "nested.legacy.pt", nested(), {"_use_new_zipfile_serialization": False}
    yield "tensor.pt", torch.arange(4), {}
    yield "training.pt", training_step(), {}
    yield "module.pt", module(), {}
    yield "module.legacy.pt", module(), {"_use_new_zipfile_serialization": False}
    yield "transient_buffer.pt", {"net": with_transient_buffer()}, {}
    yield "lazy_bits.pt", {"conj": ramp(torch.complex64).conj(), "neg": torch._neg_view(torch.arange(3.0)), "plain": ramp(torch.complex64)}, {}
    yield "sparse.pt", sparse(), {}
    yield "meta.pt", {"m": torch.empty(2, 3, device="meta"), "w": torch.ones(1)}, {}
    tagged = torch.arange(3.0).as_subclass(Tagged)
    tagged.note = "a word"
    yield "subclass.pt", {"tagged": tagged, "parameter": torch.nn.Parameter(torch.ones(2))}, {}
    arrays = {"a": numpy.arange(6, dtype="float32").reshape(2, 3), "f": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
              "w": torch.ones(1), "scalar": numpy.float64(2.5)}
    yield "numpy.protocol4.pt", arrays, {"pickle_protocol": 4}
    yield "numpy.protocol5.pt", arrays, {"pickle_protocol": 5}
    quantized = {"tensor": torch.quantize_per_tensor(torch.tensor([0.0, 1.0, 2.0]), 0.1, 3, torch.quint8),
                 "channel": torch.quantize_per_channel(torch.ones(2, 2), torch.tensor([0.1, 0.2]).double(), torch.tensor([0, 1]), 0, torch.qint8)}
    yield "quantized.pt", quantized, {}
    yield "rare.pt", rare(), {}


def sparse():
    matrix = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])
    return {"coo": matrix.to_sparse(), "csr": matrix.to_sparse_csr(), "csc": matrix.to_sparse_csc()}


def rare():
    bytes_of_six = torch.arange(0x30, 0x36, dtype=torch.uint8)
    matrix = torch.tensor([[0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 3.0, 0.0]])
    four_bits = torch.quantize_per_channel(torch.arange(16.0).reshape(4, 4), torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.zeros(4), 0, torch.quint4x2)
    return {**{name: bytes_of_six.view(dtype) for dtype, name in RARE_DTYPES.items()}, "bsr": matrix.to_sparse_bsr((1, 2)),
            "bsc": matrix.to_sparse_bsc((1, 2)), "nested": torch.nested.nested_tensor([torch.ones(2, 3), torch.zeros(1, 3)]),
            "qu4x2": four_bits, "qi32": torch.quantize_per_tensor(torch.tensor([1.0, -2.0]), 0.5, 0, torch.qint32)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, value, options in cases():
        torch.save(value, folder / name, **options)
        found = {}
        walk(value, "", found)
        expected[name] = found
    script = torch.jit.script(module()[0])
    script.save(str(folder / "script.pt"))
    expected["script.pt"] = {}
    walk(script.state_dict(), "", expected["script.pt"])
    document = {"torch": torch.__version__, "numpy": numpy.__version__, "files": expected}
    (folder / "expected.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    print(f"{len(expected)} files by PyTorch {torch.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
