#pragma once
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/engine/step/step_inputs.hpp>

/// What a step does as numbers alone: all that a rank needs besides the model, and how ranks pass it on.
namespace lamina::engine {

/// Images that go through the vision tower together. Whoever makes it owns the patches.
struct ImageWork {
  std::vector<Grid> grids;
  std::vector<std::span<const float>> patches;  ///< of each grid
  std::vector<int> to;                          ///< the stored row that each merged row becomes
  std::vector<int> adapter_slots;               ///< of each patch; empty: none has an adapter
};

struct StepWork {
  std::vector<AdapterLoad> adapters;
  ImageWork images;
  StepSizes sizes;                    ///< of the arrays of `inputs`
  StepShape shape;                    ///< of what runs; no tokens: nothing does
  int recorded_rows = 0;              ///< the row count of the recorded step that does it; 0: none
  int edits = 0;                      ///< of page tables
  std::span<const std::byte> inputs;  ///< StepInputs' block
};

namespace detail {

/// Values one after the other in a text of bytes.
class ByteWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) { append(&value, sizeof value); }
  template <class T>
  void put_all(std::span<const T> values) {
    put(values.size());
    append(values.data(), values.size_bytes());
  }
  void put_layers(const checkpoint::AdapterLayers& layers) {
    put(layers.size());
    for (const auto& [name, layer] : layers) {
      put_all(std::span<const char>(name));
      put(layer.rank), put(layer.scale);
      put_all(std::span<const float>(layer.a)), put_all(std::span<const float>(layer.b));
    }
  }
  std::string take() { return std::move(bytes_); }

 private:
  void append(const void* from, std::size_t count) { bytes_.append(static_cast<const char*>(from), count); }
  std::string bytes_;
};
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : left_(bytes) {}
  template <class T>
  T get() {
    T value{};
    copy(&value, sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> get_all() {
    std::vector<T> values(get<std::size_t>());
    copy(values.data(), values.size() * sizeof(T));
    return values;
  }
  checkpoint::AdapterLayers get_layers() {
    checkpoint::AdapterLayers layers;
    for (auto left = get<std::size_t>(); left > 0; --left) {
      const std::vector<char> name = get_all<char>();
      checkpoint::AdapterLayer& layer = layers[std::string(name.begin(), name.end())];
      layer.rank = get<int>(), layer.scale = get<float>();
      layer.a = get_all<float>(), layer.b = get_all<float>();
    }
    return layers;
  }

 private:
  void copy(void* to, std::size_t count) {
    if (count > left_.size()) fail("a message of rank 0 is cut off: do all ranks run the same program?");
    if (count > 0) std::memcpy(to, left_.data(), count);
    left_.remove_prefix(count);
  }
  std::string_view left_;
};

}  // namespace detail

/// The message that ends what rank 0 tells the others.
inline const std::string no_more_steps;

/// A step's work as a message from rank 0 to the others.
inline std::string message_of(const StepWork& work) {
  detail::ByteWriter out;
  out.put(work.adapters.size());
  for (const AdapterLoad& load : work.adapters) out.put(load.slot), out.put_layers(*load.adapter->layers);
  out.put_all(std::span<const Grid>(work.images.grids));
  for (const auto& patches : work.images.patches) out.put_all(patches);
  out.put_all(std::span<const int>(work.images.to));
  out.put_all(std::span<const int>(work.images.adapter_slots));
  out.put(work.sizes), out.put(work.shape), out.put(work.recorded_rows), out.put(work.edits);
  out.put_all(work.inputs);
  return out.take();
}

/// A message read back, with the memory of its arrays. Whoever knows the model makes work.adapters of `adapters`.
struct ReceivedWork {
  StepWork work;
  std::vector<std::pair<int, checkpoint::AdapterLayers>> adapters;  ///< with their slots
  std::vector<std::vector<float>> patches;
  std::vector<std::byte> inputs;

  explicit ReceivedWork(std::string_view message) {
    detail::ByteReader in(message);
    for (auto left = in.get<std::size_t>(); left > 0; --left) {
      const int slot = in.get<int>();
      adapters.emplace_back(slot, in.get_layers());
    }
    work.images.grids = in.get_all<Grid>();
    for (std::size_t i = 0; i < work.images.grids.size(); ++i) patches.push_back(in.get_all<float>());
    for (const auto& values : patches) work.images.patches.push_back(values);
    work.images.to = in.get_all<int>();
    work.images.adapter_slots = in.get_all<int>();
    work.sizes = in.get<StepSizes>(), work.shape = in.get<StepShape>();
    work.recorded_rows = in.get<int>(), work.edits = in.get<int>();
    inputs = in.get_all<std::byte>();
    work.inputs = inputs;
  }
  ReceivedWork(const ReceivedWork&) = delete;
  ReceivedWork& operator=(const ReceivedWork&) = delete;
};

}  // namespace lamina::engine
