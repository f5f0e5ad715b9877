#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <lamina/checkpoint/weights_file.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/train/forward.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/step/optimizer.hpp>

/// Any model type as a Python class, in fp32 on the CPU. Tensors are views of the model's own memory: what NumPy, or
/// another library through DLPack, writes there is what the next step reads.
namespace lamina::python {
namespace nb = nanobind;

using Ids = std::vector<int>;
using Floats = nb::ndarray<nb::numpy, float>;

/// An array that owns its values.
inline Floats array_of(std::vector<float> values, std::vector<std::size_t> shape) {
  auto* kept = new std::vector<float>(std::move(values));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return Floats(kept->data(), shape.size(), shape.data(), owner);
}

template <class M>
class PyModel {
 public:
  /// path: a safetensors file or a folder of them; "": random values from the seed.
  PyModel(const std::string& path, std::uint64_t seed)
      : weights_(path.empty() ? initialised<M>(seed) : load<M>(path, seed)), optimizer_(weights_) {}

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const TensorSlot& slot : weights_.slots()) names.push_back(slot.name());
    return names;
  }
  /// A view; `self` keeps the memory alive.
  static Floats tensor(nb::object self, const std::string& name) {
    PyModel& model = nb::cast<PyModel&>(self);
    for (const TensorSlot& slot : model.weights_.slots()) {
      if (slot.name() != name) continue;
      const std::vector<std::size_t> shape(slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank);
      return Floats(static_cast<float*>(model.weights_.data(slot)), shape.size(), shape.data(), self);
    }
    throw nb::key_error(name.c_str());
  }
  /// Hidden states (N, D) after the last norm, and logits (N, V) of the token that follows.
  nb::tuple forward(const Ids& ids) const {
    ForwardResult out = [&] {
      const nb::gil_scoped_release others_run;
      return run_forward(weights_, checked(ids));
    }();
    const auto n = static_cast<std::size_t>(out.tokens);
    return nb::make_tuple(array_of(std::move(out.hidden), {n, M::hidden_size}),
                          array_of(std::move(out.logits), {n, M::vocab_size}));
  }
  /// One AdamW step on the mean loss of each sequence's next tokens, and on the loss that layers declare, times
  /// aux_loss_coef; returns the loss before it.
  double step(const std::vector<Ids>& sequences, float learning_rate, float aux_loss_coef) {
    step_.auxiliary = train::auxiliary_of<M>();
    step_.auxiliary.coefficient = aux_loss_coef;
    if (aux_loss_coef != 0 && step_.auxiliary.sums == 0)
      throw nb::value_error("step: aux_loss_coef, and no layer of this model declares a loss");
    Batch batch;
    batch.cu_seqlens = {0};
    std::size_t learned = 0;
    for (const Ids& ids : sequences) learned += std::max<std::size_t>(ids.size(), 1) - 1;
    if (learned == 0) throw nb::value_error("step: no sequence has a token after its first");
    for (const Ids& ids : sequences) {
      for (const int id : checked(ids)) {
        const bool first = &id == &ids.front();
        batch.ids.push_back(id);
        batch.labels.push_back(first ? ignored_label : id);
        batch.loss_weights.push_back(first ? 0.0f : 1.0f / static_cast<float>(learned));
      }
      batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
    }
    const nb::gil_scoped_release others_run;
    const double loss = step_.accumulate(weights_, batch, no_image, 0).loss;
    optimizer_.step(weights_, {.learning_rate = learning_rate}, 0, {});
    return loss;
  }
  /// The likeliest `count` tokens after these. It reads the whole text for each of them; lamina-serve has a cache.
  Ids generate(Ids ids, int count) const {
    const nb::gil_scoped_release others_run;
    Ids made;
    for (; count > 0; --count) {
      const ForwardResult out = run_forward(weights_, checked(ids));
      const float* const last = out.logits_matrix().row(out.tokens - 1);
      made.push_back(static_cast<int>(std::max_element(last, last + M::vocab_size) - last));
      ids.push_back(made.back());
    }
    return made;
  }
  void save(const std::string& path) { lamina::save(weights_, path); }

 private:
  static constexpr int no_image = -1;
  static const Ids& checked(const Ids& ids) {
    if (ids.empty()) fail("no token ids; wanted at least one");
    for (const int id : ids)
      if (id < 0 || id >= M::vocab_size) fail("token id ", id, "; wanted 0 to ", M::vocab_size - 1);
    return ids;
  }

  Weights<M, float> weights_;
  train::Step<M> step_;
  train::Optimizer<> optimizer_;
};

/// Adds the class `name` to a module.
template <class M>
void bind_model(nb::module_& module, const char* name) {
  using Model = PyModel<M>;
  nb::class_<Model>(module, name)
      .def(nb::init<const std::string&, std::uint64_t>(), nb::arg("path") = "", nb::arg("seed") = 1)
      .def("names", &Model::names)
      .def("__getitem__", &Model::tensor)
      .def("forward", &Model::forward, nb::arg("ids"))
      .def("step", &Model::step, nb::arg("sequences"), nb::arg("learning_rate") = 1e-3f,
           nb::arg("aux_loss_coef") = 0.0f)
      .def("generate", &Model::generate, nb::arg("ids"), nb::arg("count") = 16)
      .def("save", &Model::save, nb::arg("path"));
}

}  // namespace lamina::python
