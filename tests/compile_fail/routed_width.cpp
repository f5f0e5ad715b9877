// expect: Routed: the router's Out must be one number for each of the Experts
#include <lamina/compose.hpp>
#include <lamina/layer.hpp>
using namespace lamina;
LAMINA_NAME(gate);
template <int D>
struct Mixture : Routed<Named<gate, Linear<D, 4>>, Experts<8, Linear<D, D>>, TopK<2>> {};
int main() { return Mixture<8>::k + Mixture<16>::k; }
