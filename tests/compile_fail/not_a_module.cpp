// expect: Module
#include <lamina/lamina.hpp>
using namespace lamina;
struct Forgetful {};  // no In, no Out
struct Model : Chain<Named<name::norm, RMSNorm<8>>, Named<name::proj, Forgetful>> {};
