// expect: Residual: the body must give back the width of its input
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : Residual<Named<name::norm, RMSNorm<64>>, Named<name::proj, Linear<64, 32>>> {};
