#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace lamina::data {

/// One conversation as the model sees it. T tokens; the i-th run of <|image_pad|> in ids belongs to images[i].
struct Sample {
  std::vector<int> ids;                       ///< (T) image placeholders already expanded
  std::vector<int> labels;                    ///< (T) the token itself where it is learned, else ignored_label
  std::vector<std::filesystem::path> images;  ///< files, in the order of their placeholders
  std::string origin;                         ///< "mllm_demo.json row 3", for messages
};

}  // namespace lamina::data
