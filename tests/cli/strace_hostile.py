#!/usr/bin/env python3
"""usage: strace_hostile.py HEFT. Runs heft on hostile files under strace: heft must start no program, open no
socket, open no file for writing and change none, and end with one of its statuses. Exit status 77, which Meson counts as
skipped, if strace or the fixtures are missing."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

COMMANDS = (["ls"], ["tree", "--json"], ["hash"], ["verify"])
FOLDERS = ("mmaitre314+picklescan/tests/data", "mmaitre314+picklescan/tests/data2", "torch-synthetic/hostile")
# The calls of the traced classes (processes, sockets, paths) that a command requires which only reads.
HARMLESS = set("""access arch_prctl execve exit exit_group faccessat faccessat2 getcwd lstat newfstatat readlink readlinkat stat statfs statx
    wait4""".split())
OPENS = {"open", "openat", "openat2"}
THREADS = {"clone", "clone3"}
WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)")
CALL = re.compile(r"^\d+\s+(\w+)\((.*)")


def traced(words, log):
    options = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=%process,%network,%file", "-e", "signal=all", "-o", log]
    return subprocess.run(["strace", *options, *map(str, words)], capture_output=True)


def is_offence(name, rest):
    if name in OPENS:
        return WRITING.search(rest)
    if name in THREADS:
        return "CLONE_THREAD" not in rest
    return name not in HARMLESS


def offences(log):
    programs = 0
    for line in pathlib.Path(log).read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call:
            programs += call[1] == "execve"
            if is_offence(*call.groups()):
                yield line
        elif "+++ killed by" in line or "--- SIG" in line:
            yield line
    if programs != 1:
        yield f"expected one execve, that of heft itself, found {programs}"


def require_sight(log):
    """Checks that offences are found, because a change of strace's output could hide them."""
    traced(["sh", "-c", "echo x > /dev/null; ls /"], log)
    found = "\n".join(offences(log))
    assert "O_WRONLY" in found and "expected one execve" in found, f"strace's output is not understood:\n{found}"


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


def main():
    heft = pathlib.Path(sys.argv[1]).resolve()
    if not shutil.which("strace"):
        skip("strace is not installed")
    fixtures = pathlib.Path(sys.argv[2])
    files = sorted(file for folder in FOLDERS for file in (fixtures / folder).glob("*") if file.is_file())
    if not files:
        skip(f"no fixtures in {fixtures}")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/log"
        if traced(["true"], log).returncode != 0:
            skip("strace cannot trace here")
        require_sight(log)
        for file in files:
            for command in COMMANDS:
                status = traced([heft, command[0], file, *command[1:]], log).returncode
                found = [*offences(log), *([] if status in (0, 1, 2) else [f"status {status}"])]
                for offence in found:
                    print(f"{file.name}: heft {' '.join(command)}: {offence}")
                failures += bool(found)
    print(f"{len(files)} files, {len(files) * len(COMMANDS)} runs, {failures} with an offence")
    sys.exit(1 if failures else 0)


main()
