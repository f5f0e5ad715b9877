// expect: Rank<r>: an adapter's rank must be positive
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : LoRA<Named<name::q_proj, Linear<8, 8>>, Rank<0>, Alpha<16>, Targets<name::q_proj>> {};
