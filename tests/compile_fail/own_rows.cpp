// expect: Chain: a part with rows of its own (Cross) must be the last one
#include <lamina/lamina.hpp>
using namespace lamina;
using namespace lamina::name;
LAMINA_NAME(query);
LAMINA_NAME(norm1);
struct Resampler : Cross<Heads<1, 1, 4>, Chain<Named<query, Latents<3, 6>>, Named<q_proj, Linear<6, 4>>>,
                         Fork<Named<k_proj, Linear<5, 4>>, Named<v_proj, Linear<5, 4>>>, Named<o_proj, Linear<4, 6>>> {
};
struct Model : Chain<Resampler, Named<norm1, RMSNorm<6>>> {};
