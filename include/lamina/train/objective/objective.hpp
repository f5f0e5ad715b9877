#pragma once
// Every objective of core/objective/objective.hpp.
#include <lamina/train/objective/next_token.hpp>
#include <lamina/train/objective/preference.hpp>
