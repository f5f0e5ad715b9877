#pragma once
// Every layer type.
#include <lamina/layer/activation.hpp>
#include <lamina/layer/adapter/adapted_linear.hpp>
#include <lamina/layer/adapter/dora_linear.hpp>
#include <lamina/layer/adapter/learning_base.hpp>
#include <lamina/layer/attention_core.hpp>
#include <lamina/layer/embedding.hpp>
#include <lamina/layer/join_rows.hpp>
#include <lamina/layer/latents.hpp>
#include <lamina/layer/layer_norm.hpp>
#include <lamina/layer/learned_position.hpp>
#include <lamina/layer/linear.hpp>
#include <lamina/layer/patch_embed.hpp>
#include <lamina/layer/rms_norm.hpp>
#include <lamina/layer/rope.hpp>
