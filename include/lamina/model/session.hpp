#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/dtype.hpp>
#include <lamina/core/error.hpp>
#include <lamina/kernel/sample.hpp>

/// The seam between programs and generation with a model: programs (JSON, HTTP) see this header alone;
/// serve/session.hpp implements it for each composition that is compiled in.
namespace lamina {

/// One sequence at a time, with a KV cache.
class GenerateSession {
 public:
  virtual ~GenerateSession() = default;
  /// Forgets the last sequence, reads this one (one sequence, with its images) and returns the last token's logits (V).
  /// Throws Cancelled soon after the token stops: on a CPU at the next layer; a GPU finishes the prompt.
  virtual std::span<const float> prefill(const Batch&, const std::stop_token& cancelled) = 0;
  /// Appends one token; logits (V), valid until the next call.
  virtual std::span<const float> decode(int id) = 0;
  /// Whether the session chooses tokens itself where a rule is all there is to it. The host then only reads them, and
  /// does not hold up the next step: choose_first() is prefill() and the first choice, choose_next() a step and a
  /// choice.
  virtual bool chooses() const { return false; }
  virtual int choose_first(const Batch&, const kernel::SamplingRule&, const std::stop_token& /*cancelled*/) {
    fail("this session does not choose tokens");
  }
  virtual int choose_next() { fail("this session does not choose tokens"); }
  virtual int vocab_size() const = 0;
  virtual int max_model_len() const = 0;
  /// As in TrainSession.
  virtual bool on_device() const { return false; }
};

struct GenerateOptions {
  int max_model_len = 0;  ///< 0: the checkpoint's max_position_embeddings, at most 32768
  std::optional<DType> dtype;
  std::vector<std::filesystem::path> adapters;
  std::string device = "auto";  ///< as in TrainableOptions
};

}  // namespace lamina
