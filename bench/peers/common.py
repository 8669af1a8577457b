"""Shared by the peer scripts: the protocol of harness/child.hpp, and copies of tensors that still view a mapping."""
import bisect
import glob
import os
import sys
import time


def send(word, text=""):
    print(word, " ".join(str(text).split()), flush=True)


def safetensors_files(path):
    return sorted(glob.glob(os.path.join(path, "*.safetensors"))) if os.path.isdir(path) else [path]


class FileMappings:
    """The address ranges of this process that are mapped from files."""

    def __init__(self):
        self.begins, self.ends = [], []
        with open("/proc/self/maps") as maps:
            for line in maps:
                span, *rest = line.split(maxsplit=5)
                if len(rest) == 5 and rest[4].startswith("/"):
                    begin, end = (int(part, 16) for part in span.split("-"))
                    self.begins.append(begin)
                    self.ends.append(end)

    def hold(self, address):
        at = bisect.bisect_right(self.begins, address) - 1
        return at >= 0 and address < self.ends[at]


def own_torch(tensors, dtype=None):
    """Returns the tensors, converted to `dtype` if given, and cloned if they view a mapped file."""
    mapped = FileMappings()
    owned = {}
    for name in list(tensors):
        tensor = tensors.pop(name)
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        if tensor.numel() and mapped.hold(tensor.data_ptr()):
            tensor = tensor.clone()
        owned[name] = tensor
    return owned


def torch_dtype(name):
    import torch

    names = {"f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "f8_e4m3": "float8_e4m3fn", "f8_e5m2": "float8_e5m2"}
    return getattr(torch, names[name]) if name else None


def torch_bytes(tensors):
    return sum(t.numel() * t.element_size() for t in tensors.values())


def run(prepare):
    """prepare(arguments) imports modules and returns the work; the work returns (objects to keep, bytes, note)."""
    try:
        work = prepare(sys.argv[1:])
    except ImportError as error:
        return send("absent", error)
    except Exception as error:
        return send("failed", f"{type(error).__name__}: {error}")
    send("ready")
    if sys.stdin.readline().strip() != "go":
        return
    try:
        begin = time.perf_counter()
        held, size, note = work()
        seconds = time.perf_counter() - begin
    except Exception as error:
        return send("failed", f"{type(error).__name__}: {error}")
    send("done", f"{seconds:.9f} {size} {note}")
    sys.stdin.readline()
    del held
