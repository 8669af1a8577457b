"""The Python package safetensors, through its torch interface. usage: safetensors_peer.py open|view|load PATH [DTYPE]"""
import common


def prepare(arguments):
    import safetensors
    import safetensors.torch
    from safetensors import safe_open

    what, path, *rest = arguments
    version = f"safetensors {safetensors.__version__}"

    def list_names():
        handles = [safe_open(f, "pt") for f in common.safetensors_files(path)]
        names = [name for handle in handles for name in handle.keys()]
        return (handles, names), sum(map(len, names)), f"{version}, {len(names)} tensors"

    def view():
        handles = [safe_open(f, "pt") for f in common.safetensors_files(path)]
        tensors = {name: handle.get_tensor(name) for handle in handles for name in handle.keys()}
        return (handles, tensors), common.torch_bytes(tensors), version

    def load():
        tensors = {}
        for file in common.safetensors_files(path):
            tensors.update(common.own_torch(safetensors.torch.load_file(file), common.torch_dtype(rest[0] if rest else "")))
        return tensors, common.torch_bytes(tensors), version

    return {"open": list_names, "view": view, "load": load}[what]


common.run(prepare)
