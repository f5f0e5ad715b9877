// expect: Fork: every branch reads the same input
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(gate_proj); LAMINA_NAME(up_proj);
struct Model : Fork<Named<gate_proj, Linear<64, 32>>, Named<up_proj, Linear<32, 32>>> {};
