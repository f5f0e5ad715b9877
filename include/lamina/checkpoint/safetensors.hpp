#pragma once
/// Reading and writing safetensors: files, shards with their index, whole model directories. Includes nlohmann_json; a
/// model's own translation unit that is handed an open Checkpoint needs <lamina/checkpoint/tensors.hpp> alone.
#include <lamina/checkpoint/safetensors/header.hpp>
#include <lamina/checkpoint/safetensors/sharded.hpp>
#include <lamina/checkpoint/safetensors/writer.hpp>
#include <lamina/checkpoint/tensors.hpp>
