// The choice of the file of a folder that is the model.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "record/model_folder.hpp"

using namespace heft;
using test::check_words;
using test::error_of;
using test::has_note;
using test::index_of;
using test::model_of;
using test::names_of;
using test::TempFolder;

namespace {

std::string opened_name(const TempFolder& folder) {
  const Checkpoint checkpoint = open(folder.path());
  return std::filesystem::path(checkpoint.shards()[0].path).filename().string();
}

}  // namespace

TEST_CASE("folder: a single file with the ending of any format is the model, in upper case too") {
  for (const std::string name : {"x.safetensors",
                                 "X.SAFETENSORS",
                                 "x.sft",
                                 "x.bpk",
                                 "x.mpk",
                                 "x.mpk.gz",
                                 "x.msgpack",
                                 "x.npz",
                                 "X.NPZ",
                                 "x.npy",
                                 "model.bin",
                                 "Model.BIN",
                                 "x.gguf",
                                 "x.pt",
                                 "x.pth",
                                 "x.ckpt",
                                 "x.pkl",
                                 "x.tar",
                                 "x.ot",
                                 "flax_model.msgpack",
                                 "adapter_model.safetensors",
                                 "model.fp16.safetensors",
                                 "model-00001-of-00001.safetensors"}) {
    CAPTURE(name);
    const TempFolder folder;
    folder.write("config.json", "{}");
    folder.write("README.md", "# model");
    folder.write("tokenizer.json", "{}");
    folder.write(name, model_of({"w"}));
    CHECK(opened_name(folder) == name);
    CHECK(test::count_of_notes(open(folder.path())) == 0);
  }
}

TEST_CASE("folder: files of a trainer are never the model") {
  for (const std::string helper :
       {"training_args.bin", "optimizer.pt", "optimizer.bin", "optimizer_0.pt", "optimizer-00001-of-00001.safetensors",
        "scheduler.pt", "lr_scheduler.bin", "rng_state.pth", "rng_state_0.pth", "random_states_0.pkl", "scaler.pt",
        "grad_scaler.pt", "common.pt", "meta.pt", "sampler.bin", "custom_checkpoint_0.pkl", "trainer_state.pt",
        "optim.pt"}) {
    CAPTURE(helper);
    const TempFolder folder;
    folder.write(helper, model_of({"helper"}));
    const Error error = error_of(folder.path());
    CHECK(error.code() == ErrorCode::not_found);
    check_words(error.what(), {"no file here holds weights", helper, "trainer"});
    folder.write("my.pt", model_of({"w"}));
    const Checkpoint checkpoint = open(folder.path());
    CHECK(names_of(checkpoint) == std::vector<std::string>{"w"});
    CHECK(checkpoint.notes().empty());
    CHECK(names_of(open(folder.path() / helper)) == std::vector<std::string>{"helper"});  // by its name it opens
  }
}

TEST_CASE("folder: names that only start like those of a trainer's files are models") {
  for (const std::string name :
       {"optimus.pt", "schedulerless.bin", "rngs.pth", "metal.pt", "scalers.npz", "commons.pt"}) {
    const TempFolder folder;
    folder.write(name, model_of({"w"}));
    CHECK(opened_name(folder) == name);
  }
}

TEST_CASE("folder: chooses in Hugging Face's order, with a note about unused files") {
  const TempFolder folder;
  const std::vector<std::string> order = {"flax_model.msgpack",
                                          "adapter_model.bin",
                                          "pytorch_model.bin",
                                          "adapter_model.safetensors",
                                          "diffusion_pytorch_model.safetensors",
                                          "model.safetensors"};
  std::vector<std::string> before;
  for (const std::string& name : order) {
    folder.write(name, model_of({"w"}));
    const Checkpoint checkpoint = open(folder.path());
    CHECK(std::filesystem::path(checkpoint.shards()[0].path).filename().string() == name);
    CHECK(checkpoint.notes().size() == (before.empty() ? 0 : 1));
    for (const std::string& other : before) CHECK(has_note(checkpoint, {"not used", other}));
    before.push_back(name);
  }
  folder.write("optimizer.pt", model_of({"helper"}));
  CHECK_FALSE(has_note(open(folder.path()), {"optimizer"}));
}

TEST_CASE("folder: chooses model.safetensors before its index, with a note") {
  const TempFolder folder;
  folder.write("model.safetensors", model_of({"single"}));
  folder.write("model-00001-of-00001.safetensors", model_of({"sharded"}));
  folder.write("model.safetensors.index.json", index_of({{"sharded", "model-00001-of-00001.safetensors"}}));
  const Checkpoint checkpoint = open(folder.path());
  CHECK(names_of(checkpoint) == std::vector<std::string>{"single"});
  CHECK(has_note(checkpoint, {"not used", "model.safetensors.index.json", "model-00001-of-00001.safetensors"}));
}

TEST_CASE("folder: several candidates without an order are an error that lists them") {
  for (const auto& [one, other] : {std::pair{"a.safetensors", "b.safetensors"},
                                   {"a.safetensors", "b.gguf"},
                                   {"a.pt", "b.pt"},
                                   {"model.fp16.safetensors", "model.fp32.safetensors"},
                                   {"x.npz", "x.npy"}}) {
    const TempFolder folder;
    folder.write(one, model_of({"w"}));
    folder.write(other, model_of({"w"}));
    const Error error = error_of(folder.path());
    CHECK(error.code() == ErrorCode::ambiguous);
    check_words(error.what(), {one, other, "open one of them"});
  }
  const TempFolder many;
  for (int i = 0; i < 1000; ++i) many.write(std::to_string(1000 + i) + ".npy", "x");
  const Error error = error_of(many.path());
  check_words(error.what(), {"'1000.npy'", "995 more"});
  CHECK(std::string(error.what()).size() < 400);
}

TEST_CASE("folder: complete numbered parts without an index are one model, beside a trainer's files too") {
  const TempFolder folder;
  for (const std::string number : {"00001", "00002"})
    folder.write("pytorch_model-" + number + "-of-000002.bin", model_of({"w" + number}));
  folder.write("training_args.bin", "x");
  const Checkpoint checkpoint = open(folder.path());
  CHECK(names_of(checkpoint) == std::vector<std::string>{"w00001", "w00002"});
  CHECK(checkpoint.notes().empty());
  folder.write("other.safetensors", model_of({"w"}));
  check_words(error_of(folder.path()).what(), {"pytorch_model-0000N-of-000002.bin", "other.safetensors"});
}

TEST_CASE("folder: counts and lists missing parts") {
  const TempFolder folder;
  for (const std::string number : {"1", "3", "4"})
    folder.write("model-0000" + number + "-of-00006.safetensors", model_of({"w" + number}));
  const Error error = error_of(folder.path());
  CHECK(error.code() == ErrorCode::not_found);
  check_words(error.what(), {"expected 6 parts", "found 3", "model-00002-of-00006.safetensors",
                             "model-00005-of-00006.safetensors", "model-00006-of-00006.safetensors", "incomplete"});
  const TempFolder huge;
  huge.write("model-000000001-of-999999999.safetensors", model_of({"w"}));
  check_words(error_of(huge.path()).what(),
              {"999999999", "found 1", "model-000000002-of-999999999.safetensors", "999999993 more"});
  const TempFolder from_zero;
  from_zero.write("model-00000-of-00002.safetensors", model_of({"a"}));
  check_words(error_of(from_zero.path()).what(), {"model-00001-of-00002.safetensors"});
  from_zero.write("model-00001-of-00002.safetensors", model_of({"b"}));
  CHECK(open(from_zero.path()).tensors().size() == 2);
}

TEST_CASE("folder: reports a folder with only refused files as the file itself") {
  const std::string hdf5 = "\x89HDF\r\n\x1A\n" + std::string(64, '\0');
  for (const auto& [name, content, words] :
       {std::tuple<std::string, std::string, const char*>{"tf_model.h5", hdf5, "HDF5"},
        {"MODEL.H5", hdf5, "HDF5"},
        {"model.tflite", std::string("\x1C\0\0\0TFL3", 8) + std::string(64, '\0'), "TensorFlow Lite"},
        {"model.onnx",
         std::string("\x08\x08\x12\x07pytorch\x1A\x05"
                     "2.1.0:\x10",
                     20) +
             std::string(64, '\0'),
         "ONNX"},
        {"model.joblib", std::string("\x78\x9C") + std::string(64, '\0'), "joblib"},
        {"model.zip", std::string("PK\x05\x06") + std::string(18, '\0'), "zip"},
        {"model.tgz", std::string("\x1F\x8B\x08\xE0") + std::string(64, '\0'), "gzip"},
        {"model.7z", "7z\xBC\xAF\x27\x1C" + std::string(64, '\0'), "7z"}}) {
    const TempFolder folder;
    folder.write("config.json", "{}");
    folder.write(name, content);
    const Error error = error_of(folder.path());
    CHECK(error.code() == ErrorCode::unsupported);
    check_words(error.what(), {name, words});
    CHECK(std::string(error.what()) == error_of(folder.path() / name).what());
    folder.write("model.safetensors", model_of({"w"}));
    CHECK(test::count_of_notes(open(folder.path())) == 0);  // another program's copy is no loss
  }
}

TEST_CASE("folder: of refused files, reports a model before an archive") {
  const TempFolder folder;
  folder.write("data.zip", std::string("PK\x05\x06") + std::string(18, '\0'));
  check_words(error_of(folder.path()).what(), {"data.zip", "zip"});
  folder.write("tf_model.h5", "\x89HDF\r\n\x1A\n" + std::string(64, '\0'));
  check_words(error_of(folder.path()).what(), {"tf_model.h5", "HDF5"});
}

TEST_CASE("folder: a pickle beside a model that heft refuses is not the model") {
  const TempFolder folder;
  folder.write("tokenizer.pkl", "\x80\x02}.");
  CHECK(open(folder.path()).tensors().empty());
  folder.write("tf_model.h5", "\x89HDF\r\n\x1A\n" + std::string(64, '\0'));
  check_words(error_of(folder.path()).what(), {"tf_model.h5", "HDF5"});
}

TEST_CASE("folder: reports the contents of a folder without weights") {
  const TempFolder folder;
  check_words(error_of(folder.path()).what(), {"found no file that is named like model weights"});
  folder.write("config.json", "{}");
  folder.write("model.pdparams", "x");
  check_words(error_of(folder.path()).what(), {"among 'config.json' and 'model.pdparams'"});
  folder.write(".cache/huggingface/download/aa.incomplete", "x");
  check_words(error_of(folder.path()).what(), {"a download of it is not finished"});
  check_words(error_of("").what(), {"found an empty one"});
}

TEST_CASE("folder: refuses the ranks of Megatron-LM with advice") {
  const TempFolder folder;
  folder.write("mp_rank_00/model_optim_rng.pt", model_of({"w"}));
  folder.write("mp_rank_01/model_optim_rng.pt", model_of({"w"}));
  check_words(error_of(folder.path()).what(), {"Megatron-LM", "'mp_rank_00' and 'mp_rank_01'", "convert.py"});
}

TEST_CASE("folder: reports a broken symlink as an interrupted download, in a note if another file is used") {
  const TempFolder folder;
  std::filesystem::create_symlink("../../blobs/0123", folder.path() / "model.safetensors");
  for (const auto& path : {folder.path(), folder.path() / "model.safetensors"}) {
    const Error error = error_of(path);
    CHECK(error.code() == ErrorCode::not_found);
    check_words(error.what(), {"model.safetensors", "../../blobs/0123", "not there", "download"});
  }
  folder.write("tf_model.h5", "x");
  check_words(error_of(folder.path()).what(), {"model.safetensors", "not there"});
  folder.write("pytorch_model.bin", model_of({"w"}));
  CHECK(has_note(open(folder.path()), {"not used", "model.safetensors", "symlink"}));
}

TEST_CASE("folder: refuses a DeepSpeed checkpoint with advice, in its folder and above it") {
  const TempFolder folder;
  folder.write("training_args.bin", "x");
  folder.write("latest", "global_step5");
  folder.write("global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt", model_of({"w"}));
  folder.write("global_step5/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", model_of({"w"}));
  const Error above = error_of(folder.path());
  CHECK(above.code() == ErrorCode::not_found);
  check_words(above.what(), {"no file here holds weights", "DeepSpeed", "global_step5", "zero_to_fp32.py"});
  const Error in = error_of(folder.path() / "global_step5");
  CHECK(in.code() == ErrorCode::unsupported);
  check_words(in.what(), {"ZeRO", "zero_to_fp32.py"});
  folder.write("model.safetensors", model_of({"w"}));
  CHECK(open(folder.path()).tensors().size() == 1);
}

TEST_CASE("folder: reports subfolders with weights if it has none itself") {
  const TempFolder folder;
  folder.write("model_index.json", "{}");
  folder.write("scheduler/scheduler_config.json", "{}");
  folder.write("unet/diffusion_pytorch_model.safetensors", model_of({"w"}));
  check_words(error_of(folder.path()).what(), {"the folder 'unet'", "open it"});
  folder.write("vae/diffusion_pytorch_model.safetensors", model_of({"w"}));
  check_words(error_of(folder.path()).what(), {"'unet' and 'vae'", "open one of them"});
}

TEST_CASE("folder: reports an unfinished download") {
  const TempFolder folder;
  folder.write("model.safetensors.incomplete", model_of({"w"}).substr(0, 20));
  check_words(error_of(folder.path()).what(), {"model.safetensors.incomplete", "not finished"});
  check_words(error_of(folder.path() / "model.safetensors.incomplete").what(), {"not finished", "declares"});
}
