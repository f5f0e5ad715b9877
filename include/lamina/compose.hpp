#pragma once
// Types that take types: what models are written in.
#include <lamina/compose/attention.hpp>
#include <lamina/compose/chain.hpp>
#include <lamina/compose/fork.hpp>
#include <lamina/compose/mlp.hpp>
#include <lamina/compose/residual.hpp>
#include <lamina/compose/stack.hpp>
#include <lamina/compose/vision_language.hpp>
#include <lamina/compose/wrap/freeze.hpp>
#include <lamina/compose/wrap/frozen.hpp>
#include <lamina/compose/wrap/lora.hpp>
#include <lamina/compose/wrap/named.hpp>
#include <lamina/compose/wrap/recompute.hpp>
#include <lamina/compose/wrap/rewrite.hpp>
#include <lamina/compose/wrap/scaled.hpp>
#include <lamina/compose/wrap/tapped.hpp>
#include <lamina/compose/wrap/windowed.hpp>
