// expect: Chain: the first layer's Out is not the second layer's In
#include <lamina/lamina.hpp>
using namespace lamina;
using namespace lamina::name;
struct Model : Attention<Heads<4, 2, 64>, Causal, RoPE2D, Named<q_proj, Linear<192, 256>>, Named<k_proj, Linear<192, 256>>,
                         Named<v_proj, Linear<192, 128>>, Named<o_proj, Linear<256, 192>>> {};
