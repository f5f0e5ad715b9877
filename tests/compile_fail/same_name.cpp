// expect: two tensors of this model have the same name, whose tags are in TensorName<List<...>>
#include <lamina/lamina.hpp>
using namespace lamina;
LAMINA_NAME(layers); LAMINA_NAME(fc1);
struct Model : Stack<layers, 2, Chain<Named<fc1, Linear<8, 16>>, Named<fc1, Linear<16, 8>>>> {};
const auto tensors = list_tensors<Model>();
