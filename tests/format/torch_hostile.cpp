// Files made to be refused, and files made to do harm, each with its expected result.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "heft/error.hpp"
#include "support/fixtures.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;

namespace fs = std::filesystem;

namespace {

/// The expected result for a file of torch-synthetic: its tensors in order of names, or a refusal.
struct Verdict {
  const char* file;
  ErrorCode code;
  const char* words;
};

constexpr ErrorCode opens = ErrorCode::not_found;  // stands for "no error": no format throws it here

const Verdict verdicts[] = {
    {"ok/base.pt", opens, ""},
    {"ok/big_endian.pt", opens, ""},
    {"ok/no_byteorder_record.pt", opens, ""},
    {"ok/v3_dtypes.pt", opens, ""},
    {"ok/v2_conj_metadata.pt", opens, ""},
    {"ok/cuda_location.pt", opens, ""},
    {"ok/cuda_storage_class.pt", opens, ""},
    {"ok/storage_larger_than_view.pt", opens, ""},
    {"ok/zip64_sizes.pt", opens, ""},
    {"ok/legacy_view_metadata.pt", opens, ""},
    {"ok/legacy_sysinfo_big.pt", opens, ""},
    // Calls of anything are opaque records; strict_globals refuses them, below.
    {"hostile/pkl_os_system.pt", opens, ""},
    {"hostile/pkl_stack_global.pt", opens, ""},
    {"hostile/pkl_obj.pt", opens, ""},
    {"hostile/pkl_newobj_ex.pt", opens, ""},
    {"hostile/pkl_getattr_chain.pt", ErrorCode::corrupt, "line feed"},  // its second name does not end
    {"hostile/pkl_torch_load_from_bytes.pt", opens, ""},
    {"hostile/pkl_get_huge_memo.pt", opens, ""},
    {"hostile/pkl_dup_memo_string.pt", opens, ""},
    {"hostile/pkl_long1_255.pt", opens, ""},
    {"hostile/pkl_persid_text.pt", ErrorCode::unsupported, "outside the file"},
    {"hostile/pkl_buffers.pt", ErrorCode::unsupported, "outside the file"},
    {"hostile/pkl_underflow.pt", ErrorCode::corrupt, "stack is empty"},
    {"hostile/pkl_mark_underflow.pt", ErrorCode::corrupt, "MARK"},
    {"hostile/pkl_bad_utf8.pt", ErrorCode::corrupt, "UTF-8"},
    {"hostile/pkl_setitems_odd.pt", ErrorCode::corrupt, "in pairs"},
    {"hostile/pkl_setitem_on_list.pt", ErrorCode::corrupt, "kind list"},
    {"hostile/pkl_append_on_dict.pt", ErrorCode::corrupt, "kind dict"},
    {"hostile/pkl_unhashable_key.pt", ErrorCode::corrupt, "hashable"},
    {"hostile/pkl_deep_tuple_200k.pt", ErrorCode::limit_exceeded, "record_depth"},
    {"hostile/pkl_deep_list.pt", ErrorCode::limit_exceeded, "record_depth"},
    {"hostile/pkl_frame_lies.pt", ErrorCode::corrupt, "FRAME"},
    {"hostile/meta_broadcast_bomb.pt", opens, ""},  // a legal view; what may be materialized is the plan's to bound
    {"hostile/meta_stride_negative.pt", ErrorCode::corrupt, "strides of 0 or more"},
    {"hostile/meta_stride_overflow.pt", ErrorCode::corrupt, "63 bits"},
    {"hostile/meta_size_overflow.pt", ErrorCode::corrupt, "63 bits"},
    {"hostile/meta_rank_mismatch.pt", ErrorCode::corrupt, "2 sizes and 1 strides"},
    {"hostile/meta_size_float.pt", ErrorCode::corrupt, "kind real"},
    {"hostile/meta_size_bool.pt", ErrorCode::corrupt, "kind boolean"},
    {"hostile/meta_numel_larger_than_record.pt", ErrorCode::corrupt, "1600 bytes, found 16"},
    {"hostile/meta_numel_negative.pt", ErrorCode::corrupt, "0 or more"},
    {"hostile/meta_record_missing.pt", ErrorCode::corrupt, "no bytes for storage '9'"},
    {"hostile/meta_key_traversal.pt", ErrorCode::corrupt, "not a plain storage key"},
    {"hostile/meta_key_int.pt", ErrorCode::corrupt, "key as a text"},
    {"hostile/meta_pid_short.pt", ErrorCode::corrupt, "5 or 6 parts"},
    {"hostile/meta_same_key_two_dtypes.pt", opens, ""},  // both say 16 bytes
    {"hostile/zip_duplicate_pkl.pt", ErrorCode::ambiguous, "another record"},
    {"hostile/zip_flag_bit5_patch.pt", ErrorCode::unsupported, "patched"},
    {"hostile/zip_crc_wrong.pt", opens, ""},  // of a storage: verify() looks at it
    {"hostile/zip_size_past_eof.pt", ErrorCode::ambiguous, "reach past"},
    {"hostile/zip_csize_ne_usize_stored.pt", ErrorCode::corrupt, "stored, yet"},
    {"hostile/zip_cd_off_past_eof.pt", ErrorCode::corrupt, "past the data"},
    {"hostile/zip_method_99.pt", ErrorCode::ambiguous, "compression method"},
    {"hostile/zip_storage_deflated.pt", opens, ""},
    {"hostile/zip_leading_garbage.pt", ErrorCode::unrecognized, ""},
    {"hostile/zip_two_prefixes.pt", ErrorCode::ambiguous, "folder of the first"},
    {"hostile/zip_no_prefix.pt", ErrorCode::corrupt, "in a folder"},
    {"hostile/zip_no_version.pt", ErrorCode::corrupt, "version"},
    {"hostile/zip_version_99.pt", ErrorCode::unsupported, "version 99"},
    {"hostile/zip_no_pkl.pt", ErrorCode::corrupt, "data.pkl"},
    {"hostile/zip_fake_eocd_in_comment.pt", ErrorCode::ambiguous, "end records"},
    {"hostile/zip_path_traversal_name.pt", ErrorCode::refused, "climbs"},
    {"hostile/zip_nul_in_name.pt", ErrorCode::ambiguous, "NUL"},
    {"hostile/zip_eocd_count_lies.pt", opens, ""},
    {"hostile/zip_truncated.pt", ErrorCode::corrupt, "end record"},
    {"hostile/zip_byteorder_bad.pt", ErrorCode::corrupt, "byteorder"},
    {"hostile/legacy_count_mismatch.pt", ErrorCode::corrupt, "elements, found"},
    {"hostile/legacy_truncated.pt", ErrorCode::corrupt, ""},
    {"hostile/legacy_key_missing.pt", ErrorCode::corrupt, ""},
    {"hostile/legacy_bad_magic.pt", ErrorCode::corrupt, ""},
    {"hostile/legacy_bad_protocol.pt", ErrorCode::unsupported, "1001"},
    {"hostile/legacy_view_oob.pt", ErrorCode::corrupt, "view"},
};

ErrorCode outcome_of(const std::string& file, const format::ReadOptions& options, std::string& message) {
  try {
    static_cast<void>(open_bytes(file, options));
    return opens;
  } catch (const Error& error) {
    message = error.what();
    return error.code();
  }
}

}  // namespace

TEST_CASE("torch fixtures: every synthetic file opens, or is refused with its reason") {
  const auto folder = fixtures("torch-synthetic");
  if (!folder) return;
  std::set<std::string> known;
  for (const Verdict& row : verdicts) {
    INFO(std::string(row.file));
    known.insert(row.file);
    std::string message;
    const ErrorCode found = outcome_of(read_file(*folder / row.file), {}, message);
    INFO(message);
    CHECK(name(found) == name(row.code));
    CHECK(message.find(row.words) != std::string::npos);
  }
  for (const Row& row : read_tsv(*folder / "INDEX.tsv"))
    CHECK_MESSAGE(known.contains(row.at(0)), "no verdict for " << row.at(0));
}

TEST_CASE("torch fixtures: synthetic files have the numbers in their index") {
  const auto folder = fixtures("torch-synthetic");
  if (!folder) return;
  const auto numbers = [&](const char* file, const char* tensor) {
    const std::string bytes = read_file(*folder / "ok" / file);
    const format::Catalog catalog = open_bytes(bytes);
    const format::TensorEntry& entry = tensor_of(catalog, tensor);
    const std::string elements = elements_of(catalog, entry, bytes);
    std::vector<double> out;
    for (std::size_t i = 0; i * info(entry.dtype).block_bytes < elements.size(); ++i)
      out.push_back(number_at(entry.dtype, elements, i));
    return out;
  };
  using Numbers = std::vector<double>;
  CHECK(numbers("base.pt", "w") == Numbers{1, 2, 3, 4});
  CHECK(numbers("big_endian.pt", "w") == Numbers{1, 2, 3, 4});
  CHECK(numbers("big_endian.pt", "i") == Numbers{5, -6});
  CHECK(numbers("big_endian.pt", "h") == Numbers{1.5, -2});
  CHECK(numbers("big_endian.pt", "b") == Numbers{1, 2, 3});
  CHECK(numbers("big_endian.pt", "c") == Numbers{1});
  CHECK(numbers("storage_larger_than_view.pt", "w") == Numbers{3, 4});
  CHECK(numbers("legacy_view_metadata.pt", "w") == Numbers{2, 3});
  const std::string conj = read_file(*folder / "ok/v2_conj_metadata.pt");
  const format::Catalog catalog = open_bytes(conj);
  CHECK((tensor_of(catalog, "c").flags & format::conjugated) != 0);
  CHECK(open_bytes(read_file(*folder / "ok/v3_dtypes.pt")).tensors.size() == 15);
  const std::string little = read_file(*folder / "ok/no_byteorder_record.pt");
  CHECK((open_bytes(little).tensors[0].flags & format::swapped) == 0);
  CHECK((open_bytes(little, {.torch = {.big_endian_default = true}}).tensors[0].flags & format::swapped) != 0);
}

TEST_CASE("torch fixtures: strict_globals refuses what calls unknown names, and lists them") {
  const auto folder = fixtures("torch-synthetic");
  if (!folder) return;
  const std::pair<const char*, const char*> rows[] = {{"pkl_os_system.pt", "os.system"},
                                                      {"pkl_obj.pt", "os.system"},
                                                      {"pkl_newobj_ex.pt", "os.system"},
                                                      {"pkl_torch_load_from_bytes.pt", "_load_from_bytes"},
                                                      {"pkl_stack_global.pt", ""}};
  for (const auto& [file, words] : rows) {
    std::string message;
    CHECK(name(outcome_of(read_file(*folder / "hostile" / file), {.torch = {.strict_globals = true}}, message)) ==
          "refused");
    CHECK(message.find(words) != std::string::npos);
  }
  std::string message;
  CHECK(outcome_of(read_file(*folder / "ok/v3_dtypes.pt"), {.torch = {.strict_globals = true}}, message) == opens);
}

namespace {

bool is_malicious(std::string_view name) {
  return name.starts_with("malicious") || name.starts_with("GHSA") || name.starts_with("cloudpickle") ||
         name == "logging_FileHandler.pkl" || name == "types_CodeType.pkl" || name == "urllib_request_urlopen.pkl";
}

bool has_opaque_node(const format::Catalog& catalog) {
  return std::any_of(catalog.nodes.begin(), catalog.nodes.end(),
                     [](const format::Node& node) { return node.kind == format::NodeKind::opaque; });
}

/// The expected results for picklescan's odd files; for the pickles that are only malicious, see the test case.
const Verdict odd_files[] = {
    {"data/bad_pytorch.pt", ErrorCode::unrecognized, ""},  // a picture
    {"data/benign0_v4.pkl", opens, ""},
    {"data/benign_password_protected.zip", ErrorCode::unsupported, "zip archive holding 'test.txt'"},
    {"data/malicious1_0x1.zip", ErrorCode::unsupported, "zip archive holding"},
    {"data/malicious1_0x20.zip", ErrorCode::unsupported, "zip archive holding"},
    {"data/malicious1_central_directory.zip", ErrorCode::corrupt, "in a folder"},
    {"data/malicious1_wrong_ext.zip", ErrorCode::unsupported, "zip archive holding"},
    {"data/new_pytorch_model.bin", opens, ""},
    {"data/pytorch_magic_bypass.pt", ErrorCode::corrupt, "after the pickle's STOP"},
    {"data/pytorch_model.bin", opens, ""},
    {"data/sys_module_override_sploit.pkl", ErrorCode::corrupt, "STACK_GLOBAL"},
    {"data2/int_array.npy", opens, ""},
    {"data2/object_array.npy", ErrorCode::refused, "Python objects"},
    {"data2/object_arrays.npz", ErrorCode::refused, "Python objects"},
    {"data2/object_arrays_compressed.npz", ErrorCode::refused, "Python objects"},
    {"data2/type-confusion-exploit.pkl", ErrorCode::corrupt, "STACK_GLOBAL"},
};

}  // namespace

TEST_CASE(
    "torch fixtures: odd archives and pickles of a scanner's tests open, or are refused in the words that say why") {
  const auto folder = fixtures("mmaitre314+picklescan");
  if (!folder) return;
  for (const Verdict& row : odd_files) {
    INFO(std::string(row.file));
    std::string message;
    const ErrorCode found = outcome_of(read_file(*folder / "tests" / row.file), {}, message);
    INFO(message);
    CHECK(name(found) == name(row.code));
    CHECK(message.find(row.words) != std::string::npos);
  }
}

TEST_CASE("torch fixtures: malicious pickles are opaque records without a tensor, or no format at all") {
  const auto folder = fixtures("mmaitre314+picklescan");
  if (!folder) return;
  std::size_t opened = 0;
  for (const char* part : {"tests/data", "tests/data2"}) {
    for (const fs::directory_entry& entry : fs::directory_iterator(*folder / part)) {
      const std::string name = entry.path().filename().string();
      const bool odd = std::any_of(std::begin(odd_files), std::end(odd_files), [&](const Verdict& row) {
        return std::string_view(row.file).ends_with("/" + name);
      });
      if (odd) continue;
      INFO(name);
      REQUIRE(is_malicious(name));
      const std::string file = read_file(entry.path());
      std::string message;
      CHECK(outcome_of(file, {.torch = {.strict_globals = true}}, message) != opens);
      // Protocols 0 and 1 have no magic number: a file that begins with any letter is nothing heft knows.
      if (outcome_of(file, {}, message) == ErrorCode::unrecognized) {
        CHECK(file.front() != '\x80');
        continue;
      }
      const format::Catalog catalog = open_bytes(file);
      CHECK(catalog.tensors.empty());
      CHECK(has_opaque_node(catalog));
      ++opened;
    }
  }
  CHECK(opened > 30);
}
