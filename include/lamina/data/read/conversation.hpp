#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lamina::data {

/// Who speaks: the user or a tool's result on even turns, the model or its call of tools on odd ones.
enum class Role { user, observation, assistant, function };

/// A video: the path of a file, or those of images that are its frames; as the record writes them.
struct ListedVideo {
  std::string file;
  std::vector<std::string> frames;
};

struct Turn {
  Role role;
  std::string content;  ///< with its <image> and <video> placeholders; for `function`, the JSON of the calls
};

/// What all record layouts become: turns in pairs, the model's turn last.
struct Conversation {
  std::vector<Turn> turns;
  std::string system;
  std::string tools;                ///< JSON text of a list of functions, or empty
  std::vector<std::string> images;  ///< as the record writes them
  std::vector<ListedVideo> videos = {};
  int audios = 0;                      ///< how many the record lists
  std::string origin;                  ///< "mllm_demo.json row 3"
  std::optional<Turn> rejected = {};   ///< of pairs: the other answer; the last turn is the chosen one
  std::optional<bool> desirable = {};  ///< of data for stage kto: whether the last turn is
  std::optional<Turn> baseline = {};   ///< the same: another record's answer (SequenceRole)
};

/// Why a record makes no sample, in words that are equal for equal reasons: they are counted.
struct Dropped {
  std::string reason;
};

using Converted = std::variant<Conversation, Dropped>;

}  // namespace lamina::data
