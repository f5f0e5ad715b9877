// expect: Module
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(norm1);
struct Forgetful {};  // no In, no Out
struct Model : Chain<Named<norm1, RMSNorm<8>>, Named<name::proj, Forgetful>> {};
