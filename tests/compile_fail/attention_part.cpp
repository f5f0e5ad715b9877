// expect: Attention: wants q_proj, k_proj, v_proj and o_proj, or qkv and proj
#include <lamina/lamina.hpp>
using namespace lamina;
using namespace lamina::name;
struct Model : Attention<Heads<4, 4, 64>, Causal, RoPE2D, Named<q_proj, Linear<256, 256>>, Named<k_proj, Linear<256, 256>>,
                         Named<o_proj, Linear<256, 256>>> {};
