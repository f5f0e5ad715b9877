#pragma once
// Types that take types: what models are written in.
#include <lamina/compose/attention.hpp>
#include <lamina/compose/chain.hpp>
#include <lamina/compose/fork.hpp>
#include <lamina/compose/freeze.hpp>
#include <lamina/compose/frozen.hpp>
#include <lamina/compose/lora.hpp>
#include <lamina/compose/mlp.hpp>
#include <lamina/compose/named.hpp>
#include <lamina/compose/recompute.hpp>
#include <lamina/compose/residual.hpp>
#include <lamina/compose/rewrite.hpp>
#include <lamina/compose/scaled.hpp>
#include <lamina/compose/stack.hpp>
#include <lamina/compose/tapped.hpp>
#include <lamina/compose/vision_language.hpp>
#include <lamina/compose/windowed.hpp>
