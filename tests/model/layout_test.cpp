#include <algorithm>
#include <cstdint>
#include <fstream>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <string>
#include <vector>

#include "support/catch.hpp"

/// Every tensor's name and shape is transformers': tests/reference/layout_golden.py wrote the lists and the hashes.
using namespace lamina;

namespace lamina::qwen3_vl {
struct Qwen3VL_2B_LoRA : LoRA<Qwen3VL_2B, Rank<16>, Alpha<32>, Targets<q_proj, v_proj>> {};
static_assert(param_count<Qwen3VL_2B> == 2'127'532'032);
static_assert(trainable_count<Qwen3VL_2B_LoRA> == 3'211'264);
static_assert(std::same_as<merged_t<Qwen3VL_2B_LoRA>, Qwen3VL_2B>);
}  // namespace lamina::qwen3_vl

namespace {

struct Fnv1a {
  std::uint64_t value = 0xCBF29CE484222325ull;
  constexpr void add(std::string_view text) {
    for (char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  }
  constexpr void add(int number) {
    char digits[12]{};
    int n = 12;
    do digits[--n] = static_cast<char>('0' + number % 10);
    while ((number /= 10) > 0);
    add(std::string_view(digits + n, static_cast<std::size_t>(12 - n)));
  }
};

/// The sum over all tensors of the hash of "<name> <extent> <extent> ...": their order does not matter.
template <class Model>
constexpr std::uint64_t layout_hash() {
  std::uint64_t sum = 0;
  for_each_tensor<Model>([&](const TensorSpec& spec) {
    Fnv1a hash;
    hash.add(spec.path.view());
    for (int i = 0; i < spec.rank; ++i) {
      hash.add(" ");
      hash.add(spec.extents[static_cast<std::size_t>(i)]);
    }
    sum += hash.value;
  });
  return sum;
}
static_assert(layout_hash<qwen3_vl::Qwen3VL_2B>() == 0x662a1211c822b3a1ull,
              "Qwen3VL_2B: a name or shape is not transformers'; test_model lists it");
static_assert(layout_hash<qwen2_5_vl::Qwen2_5VL_3B>() == 0x17340b6951b4e2f3ull,
              "Qwen2_5VL_3B: a name or shape is not transformers'; test_model lists it");

template <class Model>
std::vector<std::string> listed() {
  std::vector<std::string> lines;
  for_each_tensor<Model>([&](const TensorSpec& spec) {
    std::string line(spec.path.view());
    for (int i = 0; i < spec.rank; ++i) line += " " + std::to_string(spec.extents[static_cast<std::size_t>(i)]);
    lines.push_back(line);
  });
  std::sort(lines.begin(), lines.end());
  return lines;
}

/// The golden list with its numbered layers written out.
std::vector<std::string> golden_lines(const std::string& model) {
  std::ifstream file(std::string(LAMINA_GOLDEN_DIR) + "/model/" + model + ".layout");
  REQUIRE(file.is_open());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    const std::size_t run = line.find(".0-");
    if (run == std::string::npos) {
      lines.push_back(line);
      continue;
    }
    const std::size_t end = line.find('.', run + 3);
    const int last = std::stoi(line.substr(run + 3, end - run - 3));
    for (int i = 0; i <= last; ++i) lines.push_back(line.substr(0, run + 1) + std::to_string(i) + line.substr(end));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

template <class Model>
void check_layout(const std::string& model) {
  const std::vector<std::string> golden = golden_lines(model), ours = listed<Model>();
  std::vector<std::string> missing, extra;
  std::set_difference(golden.begin(), golden.end(), ours.begin(), ours.end(), std::back_inserter(missing));
  std::set_difference(ours.begin(), ours.end(), golden.begin(), golden.end(), std::back_inserter(extra));
  CHECK(missing == std::vector<std::string>{});
  CHECK(extra == std::vector<std::string>{});
  CHECK(ours.size() == golden.size());
}

}  // namespace

TEST_CASE("Layout: tensors of Qwen3-VL 2B have transformers' names and shapes") {
  check_layout<qwen3_vl::Qwen3VL_2B>("qwen3_vl_2b");
}
TEST_CASE("Layout: tensors of Qwen2.5-VL 3B have transformers' names and shapes") {
  check_layout<qwen2_5_vl::Qwen2_5VL_3B>("qwen2_5_vl_3b");
}
