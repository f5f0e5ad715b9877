#pragma once
#include <lamina/text/prompt_segment.hpp>
#include <lamina/text/tokenizer/added_tokens.hpp>
#include <lamina/text/tokenizer/bpe.hpp>
#include <lamina/text/tokenizer/byte_alphabet.hpp>
#include <lamina/text/tokenizer/encode_limits.hpp>
#include <lamina/text/tokenizer/files.hpp>
#include <lamina/text/tokenizer/piece_cache.hpp>
#include <lamina/text/tokenizer/pretokenize.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::text {

/// A byte-level BPE tokenizer: text to token ids and back, equal to the `tokenizers` library.
///
/// encode   added tokens are split out by their literal text; the rest goes through NFC, then split_pattern, then BPE
///          over UTF-8 bytes. No token is added at either end.
/// threads  any number may use one Tokenizer; copies share its tables
/// errors   lamina::Error names the file and the field
class Tokenizer {
 public:
  /// Reads tokenizer.json, or vocab.json + merges.txt + tokenizer_config.json, from a model directory.
  /// control_tokens: those that only a chat template may write (ChatFormat::control_tokens).
  static Tokenizer load(const std::filesystem::path& model_dir, std::span<const std::string_view> control_tokens) {
    TokenizerFiles files = TokenizerFiles::read(model_dir);
    files.mark_controls(control_tokens);
    return Tokenizer(files);
  }

  /// Builds a tokenizer from what files say.
  explicit Tokenizer(const TokenizerFiles& files);

  /// The token ids of a text, in which every added token is recognised. Bytes that are not UTF-8 count as U+FFFD.
  /// Throws TooManyIds and Cancelled.
  std::vector<int> encode(std::string_view utf8, const EncodeLimits& limits = {}) const;

  /// The token ids of a prompt, as of its joined text, but that control tokens are looked for in the template's
  /// segments only, each by itself: what the content spells stays text.
  std::vector<int> encode(std::span<const PromptSegment> prompt, const EncodeLimits& limits = {}) const;

  /// No token has more bytes of text than this; a text of n bytes (in NFC) has at least n / longest_token_bytes() ids.
  std::size_t longest_token_bytes() const { return state_->longest_token_bytes; }

  /// The text of token ids. Bytes that are not UTF-8 become U+FFFD; ids that name no token are left out, and with
  /// `skip_special` special tokens too.
  std::string decode(std::span<const int> ids, bool skip_special = false) const {
    std::string bytes;
    for (const int id : ids) {
      if (!(skip_special && is_special(id))) bytes += bytes_of(id);
    }
    return io::is_valid_utf8(bytes) ? bytes : io::replace_invalid_utf8(bytes);
  }

  /// The bytes of one token, part of a character perhaps; empty if the id names no token.
  std::string_view bytes_of(int id) const {
    return id >= 0 && id < size() ? std::string_view(state_->tokens[id].bytes) : std::string_view();
  }

  /// The id of a token as the files spell it: added tokens literally, others in ByteAlphabet ("Ġthe").
  std::optional<int> id_of(std::string_view token) const {
    const auto found = state_->ids.find(token);
    return found == state_->ids.end() ? std::nullopt : std::optional(found->second);
  }

  /// Is this a control token, such as <|im_end|>?
  bool is_special(int id) const { return id >= 0 && id < size() && state_->tokens[id].special; }

  /// The highest id + 1. A model's vocab_size may be larger: the rows above are padding.
  int size() const { return static_cast<int>(state_->tokens.size()); }

 private:
  struct Token {
    std::string bytes;
    bool special = false;
  };
  struct State {
    std::vector<Token> tokens;  // by id
    StringMap<int> ids;         // by spelling
    AddedTokenSearch added, added_after_nfc;
    bool any_after_nfc = false;
    std::size_t longest_token_bytes = 1;
    std::optional<Bpe> bpe;
    mutable PieceCache cache;
  };

  static void read_vocab(State& state, const TokenizerFiles& files);
  static void read_merges(State& state, const TokenizerFiles& files);
  static void read_added(State& state, const TokenizerFiles& files);
  void encode_plain(std::string_view text, const EncodeLimits& limits, std::vector<int>& ids) const;
  void encode_ordinary(std::string_view text, bool controls_as_text, const EncodeLimits& limits,
                       std::vector<int>& ids) const;

  std::shared_ptr<const State> state_;
};

inline Tokenizer::Tokenizer(const TokenizerFiles& files) {
  auto state = std::make_shared<State>();
  read_vocab(*state, files);
  read_merges(*state, files);
  read_added(*state, files);
  for (const Token& token : state->tokens)
    state->longest_token_bytes = std::max(state->longest_token_bytes, token.bytes.size());
  state_ = std::move(state);
}

inline void Tokenizer::read_vocab(State& state, const TokenizerFiles& files) {
  static const ByteAlphabet alphabet;
  int highest = 0;
  for (const auto& [token, id] : files.vocab) highest = std::max(highest, id);
  for (const AddedToken& token : files.added) highest = std::max(highest, token.id);
  state.tokens.resize(highest + 1);
  state.ids.reserve(files.vocab.size() + files.added.size());
  for (const auto& [token, id] : files.vocab) {
    auto bytes = alphabet.bytes(token);
    if (!bytes || bytes->empty()) {
      // Released files list some added tokens in the vocabulary; those need not be spelt in bytes.
      const bool added =
          std::any_of(files.added.begin(), files.added.end(), [id = id](const auto& a) { return a.id == id; });
      if (!added) fail(files.source, ": token \"", token, "\" (id ", id, ") is not spelt in byte-level BPE's alphabet");
      bytes = token;
    }
    if (!state.tokens[id].bytes.empty())
      fail(files.source, ": id ", id, " is given to two tokens, \"", token, "\" last");
    state.tokens[id].bytes = *std::move(bytes);
    state.ids.emplace(token, id);
  }
}

inline void Tokenizer::read_merges(State& state, const TokenizerFiles& files) {
  const auto id_of = [&](const std::string& token, std::size_t number, const char* what) {
    const auto found = state.ids.find(token);
    if (found == state.ids.end()) {
      fail(files.merges_source, ": merge ", number, " (\"", files.merges[number].first, "\" + \"",
           files.merges[number].second, "\") ", what, " \"", token, "\", which the vocabulary of ", files.source,
           " lacks: do the files belong together?");
    }
    return found->second;
  };
  const ByteAlphabet alphabet;
  std::array<int, 256> byte_ids;
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = state.ids.find(alphabet.sign(static_cast<unsigned char>(byte)));
    if (found == state.ids.end()) {
      fail(files.source, ": the vocabulary lacks a token for byte ", byte, " (\"",
           alphabet.sign(static_cast<unsigned char>(byte)), "\"): not a byte-level BPE vocabulary");
    }
    byte_ids[byte] = found->second;
  }
  state.bpe.emplace(byte_ids, files.merges.size());
  std::string merged;
  for (std::size_t i = 0; i < files.merges.size(); ++i) {
    const auto& [left, right] = files.merges[i];
    merged = left;
    merged += right;
    state.bpe->add_merge(id_of(left, i, "joins"), id_of(right, i, "joins"), id_of(merged, i, "makes"));
  }
}

inline void Tokenizer::read_added(State& state, const TokenizerFiles& files) {
  const ByteAlphabet alphabet;
  for (AddedToken token : files.added) {
    const auto [known, fresh] = state.ids.emplace(token.content, token.id);
    Token& slot = state.tokens[token.id];
    if (known->second != token.id || (fresh && !slot.bytes.empty())) {
      fail(files.source, ": added token \"", token.content, "\" has id ", token.id, ", but ",
           fresh ? cat("that id is another token's") : cat("the same token has id ", known->second));
    }
    // The byte-level decoder reads a token that is spelt in its alphabet as bytes, an added one too.
    slot = {alphabet.bytes(token.content).value_or(token.content), token.special};
    if (token.normalized) {
      token.content = nfc(token.content);
      state.any_after_nfc = true;
      state.added_after_nfc.add(std::move(token));
    } else {
      state.added.add(std::move(token));
    }
  }
}

inline void Tokenizer::encode_plain(std::string_view text, const EncodeLimits& limits, std::vector<int>& ids) const {
  pretokenize(text, [&](std::string_view piece) {
    limits.check(ids.size() + piece.size() / state_->longest_token_bytes);
    state_->cache.encode(
        piece, ids, [&](std::string_view p, std::vector<int>& out) { state_->bpe->encode(p, out, limits.cancelled); });
  });
  limits.check(ids.size());
}

/// Text without the added tokens that are found before NFC.
inline void Tokenizer::encode_ordinary(std::string_view text, bool controls_as_text, const EncodeLimits& limits,
                                       std::vector<int>& ids) const {
  std::string normal;
  if (!io::is_ascii(text)) text = normal = nfc(text);
  if (!state_->any_after_nfc) return encode_plain(text, limits, ids);
  state_->added_after_nfc.split(
      text, controls_as_text, [&](std::string_view rest) { encode_plain(rest, limits, ids); },
      [&](int id) { ids.push_back(id); });
}

inline std::vector<int> Tokenizer::encode(std::string_view utf8, const EncodeLimits& limits) const {
  std::string repaired;
  if (!io::is_valid_utf8(utf8)) utf8 = repaired = io::replace_invalid_utf8(utf8);
  std::vector<int> ids;
  ids.reserve(utf8.size() / 3);
  state_->added.split(
      utf8, false, [&](std::string_view part) { encode_ordinary(part, false, limits, ids); },
      [&](int id) { ids.push_back(id); });
  return ids;
}

inline std::vector<int> Tokenizer::encode(std::span<const PromptSegment> prompt, const EncodeLimits& limits) const {
  std::vector<int> ids;
  std::string ordinary;  // since the last added token, of any author: pieces and merges reach over segments
  const auto text = [&](std::string_view part) { ordinary += part; };
  const auto token = [&](int id) {
    encode_ordinary(ordinary, true, limits, ids);
    ordinary.clear();
    ids.push_back(id);
  };
  for (const PromptSegment& segment : prompt) {
    std::string repaired;
    std::string_view utf8 = segment.text;
    if (!io::is_valid_utf8(utf8)) utf8 = repaired = io::replace_invalid_utf8(utf8);
    if (!segment.is_template || !state_->any_after_nfc) {
      state_->added.split(utf8, !segment.is_template, text, token);
      continue;
    }
    // Here too the template's control tokens are found before its words join the content's.
    state_->added.split(
        utf8, false, [&](std::string_view part) { state_->added_after_nfc.split(part, false, text, token); }, token);
  }
  encode_ordinary(ordinary, true, limits, ids);
  return ids;
}

}  // namespace lamina::text
