#pragma once
#include <lamina/model/processor_format.hpp>

namespace lamina::qwen_vl {

/// Defaults of transformers' Qwen2VLImageProcessor (5.6), which every Qwen-VL family uses, and the resizes of
/// LLaMA-Factory's Qwen2VLPlugin.
inline constexpr ProcessorFormat processor{
    .patch_size = 14,
    .temporal_patch_size = 2,
    .merge_size = 2,
    .min_pixels = 56 * 56,
    .max_pixels = 28 * 28 * 1280,
    .mean = {0.48145466f, 0.4578275f, 0.40821073f},
    .std = {0.26862954f, 0.26130258f, 0.27577711f},
    .image_processor_types =
        R"(["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil", "Qwen2_5_VLImageProcessor"])",
    .feature_extractor_types = R"(["Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor"])",
    .shape = {.least_side = 28, .most_ratio = 200, .ratio_after = 180}};

}  // namespace lamina::qwen_vl
