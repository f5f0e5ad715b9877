#pragma once
// Debian 12 packages Catch2 2.13, Ubuntu 24.04 packages 3.4.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as Catch2 2 has it
#else
#include <catch2/catch.hpp>
#endif
