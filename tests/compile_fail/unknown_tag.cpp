// expect: q_porj
#include <lamina/lamina.hpp>
using namespace lamina;
struct Model : Named<name::q_porj, Linear<8, 8>> {};
