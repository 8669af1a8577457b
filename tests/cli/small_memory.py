#!/usr/bin/env python3
"""usage: small_memory.py HEFT [CASES]. Runs heft's commands in a cgroup of 64 MiB, on larger files and on small
files that declare much: each ends with the expected status, none is killed. Exit status 77, which Meson counts as
skipped, if no cgroup can be made. A limit on address space (ulimit -v) is no substitute, because heft maps whole files.

With HEFT_MEMORY_TABLE=1 in the environment, prints the peaks as a table."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zipfile

MIB = 1 << 20
V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")


TABLE = bool(os.environ.get("HEFT_MEMORY_TABLE")) and pathlib.Path("/usr/bin/time").exists()


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


class Cgroup:
    """A new cgroup, of either version, below the one of this process, or at the top where that is not possible."""

    def __init__(self):
        self.v1 = (V1 / "memory.limit_in_bytes").exists()
        top = V1 if self.v1 else V2
        if not self.v1 and "memory" not in (V2 / "cgroup.subtree_control").read_text().split():
            skip("no cgroup of version 1 or 2 whose memory this process may limit")
        self.folder = top / f"heft-test-{os.getpid()}"
        try:
            self.folder.mkdir()
        except OSError as error:
            skip(f"no cgroup can be made: {error}")

    def limit(self, size):
        names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes") if self.v1 else ("memory.max", "memory.peak")
        self.write(names[0], size)
        if self.v1:
            self.write(names[1], 0)

    def write(self, name, value):
        (self.folder / name).write_text(str(value))

    def run(self, size, words):
        """Returns (status, standard error, peak resident bytes) of a command under a limit. The peak is from GNU time, whose own memory is small."""
        self.limit(size)
        tasks = self.folder / "cgroup.procs"
        if TABLE:
            words = ["/usr/bin/time", "-q", "-f", "peak %M", *words]
        child = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 preexec_fn=lambda: tasks.write_text(str(os.getpid())))
        errors = child.stderr.read().decode(errors="replace")
        status = child.wait()
        peak = 0
        if TABLE:
            errors, _, kilobytes = errors.rpartition("peak ")
            peak = int(kilobytes) * 1024
        return status, errors, peak

    def remove(self):
        self.folder.rmdir()


def write_safetensors(path, shapes, dtype="F32", width=4):
    header, at = {}, 0
    for name, shape in shapes.items():
        size = width
        for dim in shape:
            size *= dim
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = random.Random(1).randbytes(MIB).replace(b"\xff", b"\x3f").replace(b"\x7f", b"\x3f")
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            at -= file.write(block[:at])


def write_npz(path, rows, columns):
    """Writes one deflated array of f32."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header = (header + " " * (-(len(header) + 11) % 64) + "\n").encode()
    block = random.Random(1).randbytes(4 * columns).replace(b"\xff", b"\x3f").replace(b"\x7f", b"\x3f")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("w.npy", "w") as member:
            member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
            for _ in range(rows):
                member.write(block)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def write_torch(path, pickle, deflate=False):
    with zipfile.ZipFile(path, "w") as archive:
        how = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickle + b".", how)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", b"abcd")


def tensor(sizes, strides):
    numbers = lambda values: b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"
    storage = b"(" + text("storage") + b"ctorch\nByteStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + numbers(sizes) + numbers(strides) + b"\x89NtR"


def hostile(folder):
    """Writes small files that declare much."""
    doubled = tensor([1], [1])
    for _ in range(20):
        doubled = b"](" + doubled + b"2e"
    write_torch(folder / "doubled.pt", doubled)
    doubled = tensor([1], [1])
    for _ in range(15):
        doubled = b"](" + doubled + b"2e"
    write_torch(folder / "doubled-15.pt", doubled)
    write_torch(folder / "tuples.pt", b"](" + b"))\x86" * 5_000_000 + b"e", deflate=True)
    wide = b"".join(text(f"t{i}") + tensor([1 << 32], [0]) for i in range(16))
    write_torch(folder / "stride0.pt", b"}(" + wide + b"u")
    one = text("t") + tensor([1 << 30], [0])
    write_torch(folder / "stride0-one.pt", b"}(" + one + b"u")


LIMIT = "metadata_memory_bytes"
# file, command, limit in MiB, status, words of standard error
ROWS = [
    (name, command, 64, 0, "")
    for name in ("one.safetensors", "many.safetensors", "wide.safetensors")
    for command in ("ls", "tree", "hash", "verify", "convert", "convert-bf16")
] + [
    ("one.safetensors", "load", 64, 2, "bytes of memory"),
    ("some.safetensors", "load", 64, 0, ""),
    ("one.safetensors", "diff", 64, 0, ""),
    ("deflated.npz", "hash", 64, 0, ""),
    ("deflated.npz", "verify", 64, 0, ""),
    ("deflated.npz", "diff", 64, 0, ""),
    ("deflated.npz", "convert", 64, 0, ""),
    ("one.safetensors", "show", 64, 0, ""),
    ("doubled.pt", "ls", 64, 2, LIMIT),
    ("doubled.pt", "tree", 64, 2, LIMIT),
    ("doubled-15.pt", "ls", 64, 0, ""),
    ("doubled-15.pt", "tree", 64, 0, ""),
    ("tuples.pt", "ls", 64, 2, LIMIT),
    ("stride0.pt", "ls", 64, 0, ""),
    ("stride0.pt", "load", 512, 2, "repeated_bytes"),
    ("stride0.pt", "hash", 512, 2, "repeated_bytes"),
    ("stride0.pt", "verify", 512, 2, "repeated_bytes"),
    ("stride0.pt", "convert", 512, 2, "repeated_bytes"),
    ("stride0-one.pt", "load", 512, 2, "bytes of memory"),
]
CASES = [
    ("tuples-16.5M.pt", "ls", 64, 2, LIMIT),
    ("tuples-16.5M.pt", "tree", 64, 2, LIMIT),
    ("tuples-16.5M.pt", "verify", 64, 2, LIMIT),
    ("laugh-20.pt", "ls", 64, 2, LIMIT),
    ("laugh-20.pt", "tree", 64, 2, LIMIT),
    ("laugh-20.pt", "hash", 64, 2, LIMIT),
    ("stride0-16.pt", "ls", 64, 0, ""),
    ("stride0-16.pt", "load", 512, 2, "repeated_bytes"),
    ("stride0-16.pt", "hash", 512, 2, "repeated_bytes"),
    ("stride0-16.pt", "verify", 512, 2, "repeated_bytes"),
    ("stride0-16.pt", "convert", 512, 2, "repeated_bytes"),
]


def words_for(heft, command, path, out):
    if command == "convert":
        return [heft, "convert", path, out]
    if command == "convert-bf16":
        return [heft, "convert", path, out, "--dtype", "bf16"]
    if command == "diff":
        return [heft, "diff", path, path]
    if command == "show":
        return [heft, "show", path, "w"]
    return [heft, command, path]


def main():
    heft = sys.argv[1]
    cases = pathlib.Path(sys.argv[2]) / "attack-memory" if len(sys.argv) > 2 else None
    group = Cgroup()
    failures = []
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_safetensors(folder / "one.safetensors", {"w": [4096, 4096]})
            write_safetensors(folder / "many.safetensors", {f"layers.{i}.w": [1024, 256] for i in range(64)})
            write_safetensors(folder / "some.safetensors", {f"w{i}": [1024, 1024] for i in range(11)})
            write_safetensors(folder / "wide.safetensors", {f"w{i}": [8, 1 << 20] for i in range(2)})
            write_npz(folder / "deflated.npz", 4096, 4096)
            hostile(folder)
            rows = [(folder / row[0], *row[1:]) for row in ROWS]
            if cases is not None and cases.exists():
                rows += [(cases / row[0], *row[1:]) for row in CASES]
            else:
                print("the reported files are missing: their rows are left out")
            for path, command, limit, expected, words in rows:
                status, errors, peak = group.run(limit * MIB, words_for(heft, command, path, folder / "out.safetensors"))
                sentence = errors.strip().splitlines()[-1] if errors.strip() else ""
                if TABLE:
                    print(f"| {path.name} | {command} | {limit} MiB | {status} | {peak / MIB:.1f} MiB | {sentence[-160:]} |")
                if status != expected or words not in errors:
                    failures.append(f"{path.name} {command} under {limit} MiB: status {status}, expected {expected}; {errors.strip()[-400:]}")
    finally:
        group.remove()
    print("\n".join(failures) if failures else f"{len(rows)} commands ended as expected")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
