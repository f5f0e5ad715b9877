// expect: Residual: the body must give back the width of its input
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(norm1);
struct Model : Residual<Named<norm1, RMSNorm<64>>, Named<name::proj, Linear<64, 32>>> {};
