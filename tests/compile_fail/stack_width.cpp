// expect: Stack: a layer must give back the width of its input
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : Stack<name::layers, 4, Named<name::proj, Linear<64, 32>>> {};
