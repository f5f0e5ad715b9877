// expect: Stack: a layer must give back the width of its input
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(layers);
struct Model : Stack<layers, 4, Named<name::proj, Linear<64, 32>>> {};
