#pragma once
// Every kernel of the CUDA backend, declared for plain C++; kernel/cuda.cuh defines them.
