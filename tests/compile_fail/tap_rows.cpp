// expect: VisionLanguage: the tower's side outputs (Tapped) and its output must have as many rows for each image
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
LAMINA_NAME(query);
using V = VisionTiny;
struct Resampler
    : Cross<Heads<4, 4, 64>, Chain<Named<query, Latents<3, 256>>, Named<q_proj, Linear<256, 256>>>,
            Fork<Named<k_proj, Linear<256, 256>>, Named<v_proj, Linear<256, 256>>>, Named<o_proj, Linear<256, 256>>> {};
struct Tower
    : Chain<Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size>>,
            Tapped<V::deepstack_visual_indexes, Stack<blocks, V::depth, VisionBlock<V>>, deepstack_merger_list,
                   PatchMerger<V, NormAt::merged>>,
            Named<merger, Resampler>> {};
struct Model : VisionLanguage<Named<visual, Tower>, Named<language_model, TextModel<TextTiny>>, DeepStack<0, 1, 2>,
                              TiedHead<embed_tokens>> {};
constexpr int width = Model::hidden_size;
