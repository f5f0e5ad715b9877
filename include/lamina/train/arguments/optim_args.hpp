#pragma once
#include <algorithm>
#include <sstream>
#include <string>

#include <lamina/io/keys/key_values.hpp>
#include <lamina/train/arguments/validate.hpp>

namespace lamina::train::detail {

/// What optim_args says of sgd, "momentum=0.9,nesterov=true".
/// source  transformers 5.6, trainer_optimizer.py, _get_sgd
inline void read_optim_args(Arguments& a) {
  if (a.optimizer_kind != OptimizerKind::sgd) return;
  const std::string subject = where(a, "optim_args");
  std::istringstream words(a.optim_args);
  for (std::string word; std::getline(words, word, ',');) {
    std::erase(word, ' ');
    const std::size_t at = word.find('=');
    const std::string name = word.substr(0, at), value = at == word.npos ? "" : word.substr(at + 1);
    if (name == "nesterov") {
      const auto flag = io::word_as_flag(value);
      if (!flag) fail(subject, ": nesterov is ", value, ", wanted true or false");
      a.optimizer.nesterov = *flag;
    } else if (name == "momentum" || name == "dampening") {
      std::istringstream text(value);
      double number = -1;
      text >> number;
      if (!text || !text.eof() || number < 0 || number >= 1)
        fail(subject, ": ", name, " is ", value, ", wanted a number from 0 to below 1");
      (name == "momentum" ? a.optimizer.momentum : a.optimizer.dampening) = number;
    } else {
      fail(subject, ": ", name, " is not read by sgd, wanted momentum, dampening or nesterov",
           name == "weight_decay" ? ": weight_decay is a key of its own" : "");
    }
  }
  if (a.optimizer.momentum > 0) a.optimizer_kind = OptimizerKind::sgd_momentum;
}

}  // namespace lamina::train::detail
