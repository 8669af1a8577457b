"""torch.load(weights_only=True), plain or with mmap=True. usage: torch_peer.py open|view|load|load-mmap PATH [DTYPE]

"open" and "view" load with mmap=True and touch no payload; legacy files, which torch cannot map, are loaded without."""
import zipfile

import common


def prepare(arguments):
    import torch

    what, path, *rest = arguments
    dtype = common.torch_dtype(rest[0] if rest else "")
    is_zip = zipfile.is_zipfile(path)
    if what == "load-mmap" and not is_zip:
        raise ImportError("torch maps zip archives only")

    def work():
        mapped = what != "load" and is_zip
        tensors = dict(torch.load(path, map_location="cpu", weights_only=True, mmap=mapped))
        if what.startswith("load"):
            tensors = common.own_torch(tensors, dtype)
        return tensors, common.torch_bytes(tensors), f"torch {torch.__version__}, mmap={mapped}, {len(tensors)} tensors"

    return work


common.run(prepare)
