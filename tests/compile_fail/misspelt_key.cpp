// expect: KeyName
#include <lamina/train/arguments/key_name.hpp>
constexpr lamina::train::KeyName rank = "lora_rnak";
