"""Gathers and swaps the numbers of a Burn record of value lists with NumPy. usage: numpy_gather_peer.py load PATH

A yardstick rather than a loader: it checks nothing and takes all numbers of a list to be as wide as its first. Results of
lists of mixed widths are wrong, but cost as much."""
import gzip

import common

WIDTHS = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
LIST = b"\xd9\x05value\xdd"  # as bench/maker spells the key, and the head of a long list


def lists_of(data):
    """Yields (start, numbers, bytes of each) of every list."""
    at = data.find(LIST)
    while at >= 0:
        begin = at + len(LIST) + 4
        count = int.from_bytes(data[begin - 4 : begin], "big")
        end = data.find(b"\xd9\x05shape", begin + count)
        stride = WIDTHS.get(data[begin], 0) + 1 if count else 1
        yield begin, min(count, (end - begin) // stride), stride
        at = data.find(LIST, end)


def prepare(arguments):
    import numpy

    what, path, *_ = arguments
    if what != "load":
        raise ImportError("it gathers, and views nothing")

    def work():
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            data = file.read()
        arrays = []
        for begin, count, stride in lists_of(data):
            numbers = numpy.frombuffer(data, numpy.uint8, count * stride, begin).reshape(count, stride)
            width = max(stride - 1, 1)
            packed = numpy.ascontiguousarray(numbers[:, stride - width :])
            arrays.append(packed.view(f">u{width}").astype(f"<u{width}"))
        return arrays, sum(array.nbytes for array in arrays), f"numpy {numpy.__version__}, {len(arrays)} lists"

    return work


common.run(prepare)
