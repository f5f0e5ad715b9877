#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/compose/plan/weights.hpp>
#include <lamina/engine/adapters/adapter.hpp>
#include <lamina/engine/schedule/step_plan.hpp>
#include <lamina/kernel/matmul/add_adapters.hpp>

namespace lamina::engine {

/// The matrices of the adapters that rows of a step may have: for each product of the model `slots` places of `rank`
/// each, taken at the start. A product that no adapter has changed yet has none as far as the model sees, and costs
/// nothing. Where the model's matrix has the rows below it, A is there, so that one product reads both.
template <class T, Backend B>
class AdapterMemory {
 public:
  /// tensors: the model's, in its order, of which the first `image_tensors` are those of the vision tower and the
  /// projector. slots 0: no adapters. shard: which part of a divided model they are of.
  AdapterMemory(std::span<const TensorSlot> tensors, std::size_t image_tensors, int slots, int rank, int shard = 0);

  /// Rows below the matrix of a layer, for all of an adapter's slots; 0: A is better elsewhere. storage: the matrix's.
  static int rows_below(const TensorSpec& tensor, const Quantization& storage, int slots, int rank) {
    constexpr int most = 256;  // beyond, every product reads many adapters for each that a row has
    const bool takes = tensor.takes_row_terms && !tensor.mixture && !storage && tensor.cols() % row_step == 0;
    const int rows = slots * rounded(rank, rank_step);
    return takes && Device<B>::runs_ahead && rows <= most ? rows : 0;
  }

  int slots() const { return slots_; }
  std::size_t bytes() const {
    Arena counting;
    for (const Product& product : products_) product.take(counting);
    return counting.used_bytes();
  }
  /// Takes the memory. parameters: the model's. all: every product counts as changed, so that a request runs the same
  /// kernels whatever was loaded before it.
  void allocate(std::span<const Parameter> parameters, Stream<B> stream, bool all = false);
  /// The model's parameters with the adapters that may be chosen.
  const Parameter* parameters() const { return parameters_.data(); }
  /// The same for a plan: every product has adapters.
  std::vector<Parameter> planned(std::vector<Parameter> parameters) const {
    for (const Product& product : products_) parameters[product.parameter].row_terms = &product.matrices;
    return parameters;
  }

  /// An adapter's matrices as slots hold them; from any thread. for_others: other ranks will need it.
  /// errors  lamina::Error, naming the layer, if the model has no such linear layer, if it has other widths, or if the
  ///         rank is larger than a slot's
  std::shared_ptr<const LoadedAdapter> prepare(const std::string& name, const checkpoint::AdapterLayers& layers,
                                               bool for_others = false) const;
  /// Sends adapters to their slots. Returns whether products have adapters now that had none before.
  bool load(Stream<B> stream, std::span<const AdapterLoad> loads);

 private:
  /// A linear layer of a product.
  struct Part {
    std::string module;
    int width = 0;     ///< outputs
    float factor = 1;  ///< memory holds its matrix times this (compose/wrap/scaled.hpp)
    int row_shards = 1, column_shards = 1, shard_copies = 1;  ///< as TensorSpec has them
  };
  struct Product {
    std::size_t parameter = 0;  ///< the first of its matrices
    bool of_images = false, used = false;
    std::vector<Part> parts;
    kernel::RowTerms matrices;
    int rows_below = 0;  ///< of the model's matrices
    /// Elements of A, and of B, in one slot.
    std::size_t a_count() const { return count(matrices.a); }
    std::size_t b_count() const { return count(matrices.b); }
    std::size_t count(const Weight& w) const {
      return static_cast<std::size_t>(w.rows / matrices.slots) * static_cast<std::size_t>(w.stride);
    }
    /// Room for B, and for an A that is not below the model's matrix, in all slots.
    std::pair<T*, T*> take(Arena& arena) const {
      const auto slots = static_cast<std::size_t>(matrices.slots);
      T* const a = matrices.below_weight ? nullptr : arena.take<T>(slots * a_count());
      return {a, arena.take<T>(slots * b_count())};
    }
    int outputs() const { return matrices.b.rows / matrices.slots; }
    /// One slot's.
    T* a(int slot) const { return at(matrices.a, static_cast<std::size_t>(slot) * a_count()); }
    T* b(int slot) const { return at(matrices.b, static_cast<std::size_t>(slot) * b_count()); }
    static T* at(const Weight& w, std::size_t element) { return static_cast<T*>(const_cast<void*>(w.data)) + element; }
  };
  /// Both matrices of a product as a slot holds them.
  struct Loaded {
    std::vector<T> a, b;
  };
  struct Prepared final : LoadedAdapter {
    std::map<const Product*, Loaded> products;
  };
  /// Tensor cores take ranks in steps of 16 and rows in pieces of 16 bytes; the rest is zeros.
  static constexpr int rank_step = std::is_same_v<T, float> ? 1 : 16, row_step = 8;
  static constexpr int rounded(int n, int step) { return (n + step - 1) / step * step; }

  void add_layer(std::size_t parameter, const TensorSlot& tensor, bool of_images);
  void check(const Product& product, const Part& part, const checkpoint::AdapterLayer& layer) const;
  [[noreturn]] void refuse_unknown(const checkpoint::AdapterLayers& layers) const;
  void use(Product& product) {
    product.used = true;
    parameters_[product.parameter].row_terms = &product.matrices;
  }
  bool load_one(Stream<B> stream, int slot, const LoadedAdapter& adapter);
  static void clear(const Product& product, int slot, Stream<B> stream);
  void fill(const Product& product, std::size_t part, const checkpoint::AdapterLayer& layer, Loaded& to) const;

  int slots_, rank_, shard_;
  bool has_experts_ = false;  ///< which, with their routers, take no adapters by name
  std::vector<Product> products_;
  Arena block_;
  std::vector<Parameter> parameters_;
};

template <class T, Backend B>
AdapterMemory<T, B>::AdapterMemory(std::span<const TensorSlot> tensors, std::size_t image_tensors, int slots, int rank,
                                   int shard)
    : slots_(slots), rank_(rank), shard_(shard) {
  if (slots == 0) return;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    has_experts_ = has_experts_ || tensors[i].spec.mixture;
    if (tensors[i].spec.takes_row_terms && !tensors[i].spec.mixture) add_layer(i, tensors[i], i < image_tensors);
  }
  for (Product& product : products_) {
    kernel::RowTerms& m = product.matrices;
    m.below_weight = product.rows_below == m.a.rows && m.a.stride == m.a.cols;
  }
}
/// Its matrix is a product of its own, or a part of the one before.
template <class T, Backend B>
void AdapterMemory<T, B>::add_layer(std::size_t parameter, const TensorSlot& tensor, bool of_images) {
  const TensorSpec& spec = tensor.spec;
  if (!spec.joined) {
    Product product{.parameter = parameter, .of_images = of_images, .used = false, .parts = {}, .matrices = {}};
    product.matrices.slots = slots_;
    product.matrices.rank = rounded(rank_, rank_step);
    product.matrices.parts = 0;
    product.matrices.a = {nullptr, dtype_of<T>, 0, spec.cols(), rounded(spec.cols(), row_step)};
    product.matrices.b = {nullptr, dtype_of<T>, 0, product.matrices.rank, product.matrices.rank};
    products_.push_back(std::move(product));
  }
  Product& product = products_.back();
  kernel::RowTerms& m = product.matrices;
  if (m.parts == m.most_parts) fail("adapters: a product of more than ", m.most_parts, " layers");
  m.widths[static_cast<std::size_t>(m.parts++)] = spec.rows();
  m.a.rows = slots_ * m.ranks();
  m.b.rows += slots_ * spec.rows();
  product.rows_below += tensor.rows_below;
  product.parts.push_back({checkpoint::module_of(std::string(spec.path.view())), spec.rows(),
                           power_of_two(spec.exponent), spec.row_shards, spec.column_shards, spec.shard_copies});
}

template <class T, Backend B>
void AdapterMemory<T, B>::allocate(std::span<const Parameter> parameters, Stream<B> stream, bool all) {
  if (slots_ == 0) return;
  parameters_.assign(parameters.begin(), parameters.end());
  block_ = Arena(bytes(), Memory<B>{});
  for (Product& product : products_) {
    auto [a, b] = product.take(block_);
    if (product.matrices.below_weight) {
      const Weight& w = parameters[product.parameter].value;
      a = static_cast<T*>(const_cast<void*>(w.data)) + product.outputs() * w.stride;
    }
    product.matrices.a.data = a, product.matrices.b.data = b;
    for (int slot = 0; slot < slots_; ++slot) clear(product, slot, stream);
    if (all) use(product);
  }
}
template <class T, Backend B>
void AdapterMemory<T, B>::clear(const Product& product, int slot, Stream<B> stream) {
  Memory<B>::zero(stream, product.a(slot), product.a_count() * sizeof(T));
  Memory<B>::zero(stream, product.b(slot), product.b_count() * sizeof(T));
}

template <class T, Backend B>
std::shared_ptr<const LoadedAdapter> AdapterMemory<T, B>::prepare(const std::string& name,
                                                                  const checkpoint::AdapterLayers& layers,
                                                                  bool for_others) const {
  static std::atomic<AdapterId> last_id = 0;
  auto adapter = std::make_shared<Prepared>();
  adapter->name = name;
  adapter->id = ++last_id;
  if (for_others) adapter->layers = std::make_shared<const checkpoint::AdapterLayers>(layers);
  std::size_t found = 0;
  for (const Product& product : products_)
    for (std::size_t i = 0; i < product.parts.size(); ++i) {
      const auto layer = layers.find(product.parts[i].module);
      if (layer == layers.end()) continue;
      check(product, product.parts[i], layer->second);
      fill(product, i, layer->second, adapter->products[&product]);
      adapter->encodes_images = adapter->encodes_images || product.of_images;
      ++found;
    }
  adapter->modules = static_cast<int>(found);
  if (found < layers.size()) refuse_unknown(layers);
  return adapter;
}
/// Some layers of an adapter are none of the model's.
template <class T, Backend B>
void AdapterMemory<T, B>::refuse_unknown(const checkpoint::AdapterLayers& layers) const {
  std::set<std::string_view> known;
  for (const Product& product : products_)
    for (const Part& part : product.parts) known.insert(part.module);
  std::string names;
  int unknown = 0;
  for (const auto& [module, layer] : layers)
    if (!known.contains(module) && ++unknown <= 3) (names += names.empty() ? "" : ", ") += module;
  fail("the adapter changes ", unknown, " modules that are no linear layers of this model: ", names,
       unknown > 3 ? ", ..." : "", ": is it an adapter of another model?",
       has_experts_ ? " Experts take none by name: merge such an adapter into the model (lamina-merge)" : "");
}
template <class T, Backend B>
void AdapterMemory<T, B>::check(const Product& product, const Part& part, const checkpoint::AdapterLayer& layer) const {
  if (layer.rank > rank_)
    fail(part.module, ": the adapter's rank is ", layer.rank, ", and adapters may have at most ", rank_,
         " here (max_lora_rank)");
  const std::size_t rank = static_cast<std::size_t>(layer.rank), in = layer.a.size() / rank,
                    out = layer.b.size() / rank;
  const int own_in = product.matrices.a.cols * part.column_shards, own_out = part.width * part.row_shards;
  if (in != static_cast<std::size_t>(own_in) || out != static_cast<std::size_t>(own_out))
    fail(part.module, ": the adapter's matrices are for a layer of ", in, " inputs and ", out,
         " outputs, this model's has ", own_in, " and ", own_out, ": is it an adapter of another size?");
}
/// Writes a layer's matrices, or this shard's part of one of them, into a slot's.
template <class T, Backend B>
void AdapterMemory<T, B>::fill(const Product& product, std::size_t part, const checkpoint::AdapterLayer& layer,
                               Loaded& to) const {
  to.a.resize(product.a_count()), to.b.resize(product.b_count());
  const kernel::RowTerms& m = product.matrices;
  const auto put = [&](std::span<const float> row, float factor, T* at) {
    std::transform(row.begin(), row.end(), at, [&](float x) {
      const T value = round_to<T>(factor * x);
      if (!std::isfinite(to_f32(value)))  // it would reach the rows of other adapters
        fail(product.parts[part].module, ": the adapter has an element of ", x, ", which is not finite as ",
             name_of(dtype_of<T>));
      return value;
    });
  };
  const auto rank = static_cast<std::size_t>(layer.rank), in = static_cast<std::size_t>(m.a.cols),
             out = static_cast<std::size_t>(m.widths[part]);
  const Part& layout = product.parts[part];
  const auto shard = static_cast<std::size_t>(shard_ / layout.shard_copies);
  const std::size_t all_in = in * static_cast<std::size_t>(layout.column_shards),
                    first_in = layout.column_shards > 1 ? shard * in : 0,
                    first_out = layout.row_shards > 1 ? shard * out : 0;
  T* a = to.a.data() + part * static_cast<std::size_t>(m.rank) * static_cast<std::size_t>(m.a.stride);
  for (std::size_t r = 0; r < rank; ++r, a += m.a.stride)
    put(std::span(layer.a).subspan(r * all_in + first_in, in), 1, a);
  const auto before = static_cast<std::size_t>(std::accumulate(m.widths.begin(), m.widths.begin() + part, 0));
  T* b = to.b.data() + before * static_cast<std::size_t>(m.b.stride);
  for (std::size_t o = 0; o < out; ++o, b += m.b.stride)
    put(std::span(layer.b).subspan((first_out + o) * rank, rank), layer.scale * layout.factor, b);
}

template <class T, Backend B>
bool AdapterMemory<T, B>::load(Stream<B> stream, std::span<const AdapterLoad> loads) {
  bool more = false;
  for (const AdapterLoad& load : loads) more = load_one(stream, load.slot, *load.adapter) || more;
  return more;
}
template <class T, Backend B>
bool AdapterMemory<T, B>::load_one(Stream<B> stream, int slot, const LoadedAdapter& adapter) {
  const auto& loaded = static_cast<const Prepared&>(adapter).products;
  bool more = false;
  for (Product& product : products_) {
    const auto found = loaded.find(&product);
    if (found == loaded.end()) {
      if (product.used) clear(product, slot, stream);
      continue;
    }
    Memory<B>::upload(stream, product.a(slot), found->second.a.data(), product.a_count() * sizeof(T));
    Memory<B>::upload(stream, product.b(slot), found->second.b.data(), product.b_count() * sizeof(T));
    more = more || !product.used;
    use(product);
  }
  return more;
}

}  // namespace lamina::engine
