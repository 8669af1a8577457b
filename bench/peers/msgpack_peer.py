"""msgpack.unpackb of a Burn record of value lists: every number becomes a Python object. usage: msgpack_peer.py load PATH"""
import gzip

import common


def count_numbers(item):
    if isinstance(item, dict):
        if isinstance(item.get("value"), list):
            return len(item["value"])
        return sum(count_numbers(inner) for inner in item.values())
    return sum(count_numbers(inner) for inner in item) if isinstance(item, list) else 0


def prepare(arguments):
    import msgpack

    what, path, *_ = arguments
    if what != "load":
        raise ImportError("msgpack has no views")

    def work():
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            record = msgpack.unpackb(file.read(), strict_map_key=False)
        numbers = count_numbers(record["item"])
        return record, numbers, f"msgpack {'.'.join(map(str, msgpack.version))}, {numbers} numbers as objects"

    return work


common.run(prepare)
