#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/kernel/rows/token_inputs.hpp>

/// How probable tokens are under a model's raw logits, and which are the most probable ones.
namespace lamina::kernel {

/// Of one row of logits x (V). The logprob of token i is x[i] - log_sum, in nats.
struct RowLogprobs {
  static constexpr int most = 20;  ///< alternatives, as OpenAI's API has it

  double log_sum = 0;       ///< log sum exp(x); NaN if a logit is not finite
  float logit = 0;          ///< of the token that is asked about
  int rank = 0;             ///< 1 + how many tokens have a larger logit
  int ids[most] = {};       ///< the most probable tokens in falling order; of equal ones the lower id first
  float logits[most] = {};  ///< theirs
};

/// RowLogprobs of each of S rows for which alternatives[s] >= 0: of them so many, at most `most`, or V if that is less.
/// The other rows of `out` are left as they were.
template <class T>
struct Logprobs {
  Matrix<const T> logits;             ///< (S, V)
  const int* tokens = nullptr;        ///< (S) ids, or TokenInputs::newest_of(request row)
  const int* newest = nullptr;        ///< (R) of request rows; negative: the row has no token, logit and rank are 0
  const int* alternatives = nullptr;  ///< (S)
  RowLogprobs* out = nullptr;         ///< (S)

  LAMINA_HD int token(int s) const { return TokenInputs::id_of(tokens[s], newest); }
};

template <class B>
struct logprobs {
  static void rows(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
