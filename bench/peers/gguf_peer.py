"""The Python package gguf. usage: gguf_peer.py open|view|load PATH"""
import common


def prepare(arguments):
    import gguf
    import numpy

    what, path = arguments[:2]

    def work():
        reader = gguf.GGUFReader(path)
        tensors = {t.name: t.data for t in reader.tensors}
        if what == "load":
            tensors = {name: numpy.array(data) for name, data in tensors.items()}
        return (reader, tensors), sum(int(t.nbytes) for t in tensors.values()), f"gguf, {len(tensors)} tensors"

    return work


common.run(prepare)
