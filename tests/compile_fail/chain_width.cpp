// expect: Chain: the first layer's Out is not the second layer's In
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(norm1); LAMINA_NAME(gate_proj);
struct Model : Chain<Named<norm1, RMSNorm<64>>, Named<gate_proj, Linear<32, 64>>> {};
