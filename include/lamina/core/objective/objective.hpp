#pragma once
#include <variant>

#include <lamina/core/objective/preference_loss.hpp>
#include <lamina/core/objective/token_loss.hpp>

namespace lamina {

/// What a training run minimises. How a step runs each of them: train/objective/.
using Objective = std::variant<TokenLoss, PreferenceLoss>;

}  // namespace lamina
