#!/usr/bin/env python3
"""Opens checkpoints with the installed PyTorch and with heft, and compares them tensor by tensor.

    python3 tests/torch/compare_with_torch.py build/lib/cli/heft FILE...

For each file, compares the names, dtypes and shapes of `heft ls --json` and the SHA-256 of `heft hash` with the result of
torch.load, and the scalars of `heft tree --json` with those of PyTorch. TorchScript archives are opened by torch.jit.load
and compared with their state_dict; heft can list more attributes. weights_only=True is tried first. A file that requires
False is left out unless --trust is given, because PyTorch then executes code of the file. The exit status is 1 when
anything differs or PyTorch does not load a file.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import torch

from make_fixtures import facts, raw_bytes, walk


def digest(tensor):
    return facts(tensor) | {"sha256": hashlib.sha256(raw_bytes(tensor)).hexdigest()}


def load(path, trust):
    """Returns the object, and True if heft must list nothing else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True), True
    except Exception as refusal:
        try:
            return torch.jit.load(path, map_location="cpu").state_dict(), False
        except RuntimeError:
            if not trust:
                raise refusal
    return torch.load(path, map_location="cpu", weights_only=False), True


def run(heft, *words):
    done = subprocess.run([heft, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def found_by_heft(heft, path):
    tensors = {}
    for line in run(heft, "ls", "--json", path).splitlines():
        entry = json.loads(line)
        tensors[entry["name"]] = {"dtype": entry["dtype"], "shape": entry["shape"]}
    for line in run(heft, "hash", path).splitlines():
        sha256, name = line.split("  ", 1)
        tensors[name]["sha256"] = sha256
    return tensors


def python_scalars(value, path, found):
    if isinstance(value, dict):
        for key, item in value.items():
            python_scalars(item, f"{path}.{key}" if path else str(key), found)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            python_scalars(item, f"{path}.{index}" if path else str(index), found)
    elif value is None or isinstance(value, (bool, int, float, str)):
        found[path or "value"] = value


def json_scalars(value, path, found):
    if isinstance(value, dict):
        if "$tensor" in value:
            return
        for key, item in value.items():
            json_scalars(item, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            json_scalars(item, f"{path}.{index}" if path else str(index), found)
    else:
        found[path] = value


def differing_tensors(found, expected, is_whole):
    for name, facts in expected.items():
        if name not in found:
            yield f"{name}: heft does not list it"
        elif found[name] != facts:
            yield f"{name}: expected {facts}, heft says {found[name]}"
    if is_whole:
        yield from (f"{name}: only heft lists it" for name in found if name not in expected)


def differing_scalars(found, expected):
    for name, value in expected.items():
        if name not in found:
            yield f"{name}: heft's tree lacks it"
        elif found[name] != value and str(found[name]) != str(value):  # JSON has no inf and nan, and big integers are texts
            yield f"{name}: expected {value!r}, heft says {found[name]!r}"


def compare(heft, path, trust):
    try:
        value, is_whole = load(path, trust)
    except Exception as error:
        print(f"{path}: PyTorch does not load it: {str(error).splitlines()[0]}")
        return False
    tensors, scalars, tree = {}, {}, {}
    walk(value, "", tensors, digest)
    python_scalars(value, "", scalars)
    try:
        json_scalars(json.loads(run(heft, "tree", "--json", path)), "", tree)
        differences = [*differing_tensors(found_by_heft(heft, path), tensors, is_whole), *differing_scalars(tree, scalars)]
    except RuntimeError as refusal:
        differences = [str(refusal)]
    for difference in differences[:20]:
        print(f"{path}: {difference}", file=sys.stderr)
    verdict = f"{len(differences)} DIFFER" if differences else "equal"
    print(f"{path}: {len(tensors)} tensors, {len(scalars)} scalars: {verdict}")
    return not differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heft", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--trust", action="store_true", help="let PyTorch run what files say that weights_only=True refuses")
    arguments = parser.parse_args()
    results = [compare(arguments.heft.resolve(), file, arguments.trust) for file in arguments.files]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
