// expect: Chain: the first layer's Out is not the second layer's In; Junction<first, second, Out, In> names both
#include <lamina/fuse.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
template <class C>
struct Layer : Chain<Residual<Named<norm1, RMSNorm<C::hidden_size>>, Named<attn, TextMLP<C>>>,
                     Residual<Named<mlp, TextMLP<C>>, Named<norm2, RMSNorm<C::hidden_size + 8>>>> {};
template <class C>
struct Text : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>, Stack<layers, 2, Layer<C>>,
                    Named<merger, RMSNorm<C::hidden_size>>> {};
struct Model : TextOnly<Text<TextTiny>, TiedHead<embed_tokens, lm_head>> {};
struct Adapted : LoRA<Model, Rank<2>, Alpha<2>, Targets<gate_proj>> {};
struct Fused : fused_for<Cpu, FreezeUnder<Adapted, layers>> {};
static_assert(param_count<Adapted> > 0 && param_count<Fused> > 0);
