// expect: Chain: the first layer's Out is not the second layer's In
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : Chain<Named<name::norm, RMSNorm<64>>, Named<name::gate_proj, Linear<32, 64>>> {};
