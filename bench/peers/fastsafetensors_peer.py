"""The Python package fastsafetensors on the CPU. usage: fastsafetensors_peer.py load PATH [DTYPE]"""
import common


def prepare(arguments):
    import fastsafetensors
    from fastsafetensors import SafeTensorsFileLoader, SingleGroup

    _, path, *rest = arguments
    dtype = common.torch_dtype(rest[0] if rest else "")

    def work():
        loader = SafeTensorsFileLoader(SingleGroup(), device="cpu", nogds=True)
        loader.add_filenames({0: common.safetensors_files(path)})
        buffer = loader.copy_files_to_device()
        tensors = {name: buffer.get_tensor(name) for name in loader.get_keys()}
        if dtype is not None:
            tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
        note = f"fastsafetensors {getattr(fastsafetensors, '__version__', '')}, tensors view one buffer of the load"
        return (loader, buffer, tensors), common.torch_bytes(tensors), note

    return work


common.run(prepare)
