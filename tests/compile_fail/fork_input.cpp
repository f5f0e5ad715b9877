// expect: Fork: every branch reads the same input
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : Fork<Named<name::gate_proj, Linear<64, 32>>, Named<name::up_proj, Linear<32, 32>>> {};
