#pragma once
#include <lamina/kernel/activation.hpp>
#include <lamina/kernel/add.hpp>
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/attention.hpp>
#include <lamina/kernel/dropout.hpp>
#include <lamina/kernel/layer_norm.hpp>
#include <lamina/kernel/norm_rope.hpp>
#include <lamina/kernel/rms_norm.hpp>
#include <lamina/kernel/rows.hpp>
namespace lamina::kernel {
template <> struct activation<Cuda> { template <class F, class T> static void forward(Stream<Cuda>, F, const ActivationFwd<T>&); template <class F, class T> static void backward(Stream<Cuda>, F, const ActivationBwd<T>&); };
template <> struct silu_gate<Cuda> { template <class T> static void forward(Stream<Cuda>, const SiluGateFwd<T>&); template <class T> static void backward(Stream<Cuda>, const SiluGateBwd<T>&); };
template <> struct add<Cuda> { template <class T> static void forward(Stream<Cuda>, const Add<T>&); template <class T> static void copy(Stream<Cuda>, const Add<T>&); };
template <> struct add_rms_norm<Cuda> { template <class T,int D> static void forward(Stream<Cuda>, const AddRMSNormFwd<T,D>&, float); template <class T,int D> static void backward(Stream<Cuda>, const AddRMSNormBwd<T,D>&); };
template <> struct add_layer_norm<Cuda> { template <class T,int D> static void forward(Stream<Cuda>, const AddLayerNormFwd<T,D>&, float); template <class T,int D> static void backward(Stream<Cuda>, const AddLayerNormBwd<T,D>&); };
template <> struct rms_norm<Cuda> { template <class T,int D> static void forward(Stream<Cuda>, const RMSNormFwd<T,D>&, float); template <class T,int D> static void backward(Stream<Cuda>, const RMSNormBwd<T,D>&); };
template <> struct layer_norm<Cuda> { template <class T,int D> static void forward(Stream<Cuda>, const LayerNormFwd<T,D>&, float); template <class T,int D> static void backward(Stream<Cuda>, const LayerNormBwd<T,D>&); };
template <> struct attention<Cuda> { template <class T> static void forward(Stream<Cuda>, const AttentionFwd<T>&); template <class T> static void backward(Stream<Cuda>, const AttentionBwd<T>&); };
template <> struct dropout<Cuda> { template <class T> static void forward(Stream<Cuda>, DropoutMask, const Dropout<T>&); };
template <> struct norm_rope<Cuda> { template <class T> static void forward(Stream<Cuda>, const NormRopeFwd<T>&); template <class T> static void backward(Stream<Cuda>, const NormRopeBwd<T>&); };
template <> struct rows<Cuda> { template <class T> static void gather(Stream<Cuda>, int, const Rows<T>&);template <class T> static void scatter(Stream<Cuda>, int, const Rows<T>&);template <class T> static void scatter_add(Stream<Cuda>, int, const Rows<T>&);template <class T> static void zero(Stream<Cuda>, Matrix<T>); };
template <> struct embedding<Cuda> { template <class T> static void forward(Stream<Cuda>, const EmbeddingFwd<T>&); template <class T> static void backward(Stream<Cuda>, const EmbeddingBwd<T>&); };
template <> struct learned_position<Cuda> { template <class T> static void forward(Stream<Cuda>, const LearnedPositionFwd<T>&); template <class T> static void backward(Stream<Cuda>, const LearnedPositionBwd<T>&); };
}
