#include <lamina/io/json.hpp>

#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <string>

#include "support/catch.hpp"

using namespace lamina;
using Json = nlohmann::ordered_json;

namespace {

constexpr long endless = std::numeric_limits<long>::max();
thread_local long allocations_left = endless;  // of this thread; then all fail

/// Runs work with memory for so many allocations; whether std::bad_alloc came.
template <class Work>
bool runs_out(long allocations, const Work& work) {
  allocations_left = allocations;
  bool out = false;
  try {
    work();
  } catch (const std::bad_alloc&) {
    out = true;
  }
  allocations_left = endless;
  return out;
}

const io::JsonLimits lax{.unique_keys = false};
const std::string nested =
    R"({"a":[1,[2,{"c":[3,[]],"d":{}}],"text that is too long for the string itself"],"a":{"b":[[4],5]},)"
    R"("e":[{"f":[6]},{"f":[7,[8]],"f":[9,[10]]}]})";

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allocations_left != endless && allocations_left-- <= 0) {
    allocations_left = 0;
    throw std::bad_alloc();
  }
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST_CASE("JSON: a tree is destroyed without memory") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += (i ? "," : "[") + nested;
  text += "]";
  auto tree = std::make_unique<io::JsonTree<Json>>(io::parse_json<Json>(text, lax));
  CHECK_FALSE(runs_out(0, [&] { tree.reset(); }));
}

TEST_CASE("JSON: an object of unordered members is destroyed without memory") {
  auto tree = std::make_unique<io::JsonTree<nlohmann::json>>(io::parse_json<nlohmann::json>(nested, lax));
  CHECK_FALSE(runs_out(0, [&] { tree.reset(); }));
}

TEST_CASE("JSON: memory that ends at any point of reading is std::bad_alloc, never the end of the process") {
  const auto most = [](auto read) {
    long n = 0;
    while (runs_out(n, read)) ++n;
    return n;
  };
  CHECK(most([] { io::JsonTree<Json> tree(io::parse_json<Json>(nested, lax)); }) > 20);
  CHECK(most([] { io::JsonTree<nlohmann::json> tree(io::parse_json<nlohmann::json>(nested, lax)); }) > 20);
}
