#pragma once
#include <string_view>

namespace lamina::train {

/// The keys that lower a training run's memory, as messages name them.
inline constexpr std::string_view what_lowers_memory =
    "per_device_train_batch_size, gradient_accumulation_steps, cutoff_len, image_max_pixels, "
    "disable_gradient_checkpointing: false, lora_rank";

}  // namespace lamina::train
