// expect: Heads<H, K, Dh>: query heads must be a multiple of key/value heads
#include <lamina/lamina.hpp>
using namespace lamina;
using namespace lamina::name;
struct Model : Attention<Heads<3, 2, 64>, Causal, RoPE2D, Named<q_proj, Linear<192, 192>>, Named<k_proj, Linear<192, 128>>,
                         Named<v_proj, Linear<192, 128>>, Named<o_proj, Linear<192, 192>>> {};
