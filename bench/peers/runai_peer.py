"""The Python package runai-model-streamer on the CPU. usage: runai_peer.py load PATH [DTYPE]"""
import common


def prepare(arguments):
    from runai_model_streamer import SafetensorsStreamer

    _, path, *rest = arguments
    dtype = common.torch_dtype(rest[0] if rest else "")

    def work():
        tensors = {}
        with SafetensorsStreamer() as streamer:
            streamer.stream_files(common.safetensors_files(path))
            for name, tensor in streamer.get_tensors():  # a view of the streamer's buffer, which later tensors overwrite
                tensors[name] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor.clone()
        return tensors, common.torch_bytes(tensors), "runai-model-streamer"

    return work


common.run(prepare)
