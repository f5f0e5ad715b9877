// A project that has only the installed Lamina.
#include <lamina/kernel/cpu/norm/rms_norm.hpp>
#include <lamina/lamina.hpp>
#include <lamina/testing/gradient_check.hpp>

int main() { return lamina::testing::check_gradients<lamina::RMSNorm<8>>().passed() ? 0 : 1; }
