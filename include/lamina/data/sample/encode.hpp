#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/data/sample/media.hpp>
#include <lamina/data/sample/placeholders.hpp>
#include <lamina/data/sample/template.hpp>
#include <lamina/data/sample/video_plan.hpp>
#include <lamina/text/tokenizer.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lamina::data {

/// What is kept of one pair.
struct SplitLengths {
  int source = 0, target = 0;
  bool operator==(const SplitLengths&) const = default;
};

/// How many of S source and T target tokens are kept if C are left: the end of the longer one is lost first.
/// C * (T / (S + T)) is computed in that order in double, as LLaMA-Factory does: another order rounds otherwise.
inline SplitLengths split_lengths(int source, int target, int room) {
  int most_target = 0;
  if (2 * std::int64_t{target} < room) {
    most_target = room;
  } else if (2 * std::int64_t{source} < room) {
    most_target = room - source;
  } else {
    most_target = static_cast<int>(room * (static_cast<double>(target) / (static_cast<double>(source) + target)));
  }
  const int kept = std::min(most_target, target);
  return {std::min(std::max(room - kept, 0), source), kept};
}

/// Settings of the way from a conversation to tokens, under LLaMA-Factory's names.
struct EncodeOptions {
  int cutoff_len = 2048;
  bool train_on_prompt = false;  ///< questions are learned too
  bool mask_history = false;     ///< only the last answer is learned, and it gets the room first
  std::optional<bool> enable_thinking = true;
  bool preserve_thinking = false;
};

/// What decides how many tokens images and videos have.
struct MediaSizes {
  const vision::Processor& processor;
  ImageLimits images = {};
  VideoOptions videos = {};
};

using Encoded = std::variant<EncodedSample, Dropped>;

/// Conversations to samples: expands images and videos by their headers, renders the template, tokenises, cuts to
/// cutoff_len, and marks the tokens that are learned. source  LLaMA-Factory, data/processor/supervised.py
class Encoder {
 public:
  /// The tokenizer must outlive the encoder, and so must the processor.
  Encoder(const text::Tokenizer& tokenizer, ChatLayout layout, EncodeOptions options, const MediaSizes& media,
          std::filesystem::path media_dir)
      : tokenizer_(&tokenizer),
        layout_(std::move(layout)),
        options_(options),
        tokens_of_(media.processor.visual_tokens()),
        images_(media.processor, media.images),
        videos_(media.processor, media.videos, *layout_.chat),
        media_dir_(std::move(media_dir)) {
    if (options.cutoff_len < 1) fail("cutoff_len: ", options.cutoff_len, " is not positive");
    if (options.mask_history && options.train_on_prompt) fail("mask_history and train_on_prompt exclude each other");
    const std::string_view image_pad = layout_.chat->image_pad;
    const auto pad = tokenizer.id_of(image_pad);
    if (!pad && !image_pad.empty())
      fail("tokenizer: it has no token ", image_pad, ": it does not belong to a model of this template");
    vision_tokens_ = {pad.value_or(-1), tokenizer.id_of(layout_.chat->video_pad).value_or(-1)};
  }

  /// Fails if a record is wrong; the message does not repeat its origin. A record that does not fit is dropped with a
  /// reason.
  Encoded encode(const Conversation& conversation) {
    check_media(conversation);
    std::vector<detail::TokenPair> pairs =
        tokenise(conversation, {.enable_thinking = options_.enable_thinking,
                                .drop_history_thoughts = options_.mask_history && !options_.preserve_thinking});
    if (pairs.empty()) return Dropped{lost_image};
    if (options_.mask_history) std::reverse(pairs.begin(), pairs.end());  // the last turn gets the room first
    std::vector<EncodedSample> kept = cut(pairs);
    if (kept.empty()) return does_not_fit();
    if (options_.mask_history) std::reverse(kept.begin(), kept.end());
    return join(kept, conversation.origin);
  }

  /// The conversation up to its last answer, which is to be predicted; the two share cutoff_len.
  /// source  LLaMA-Factory, data/processor/unsupervised.py
  Encoded encode_question(const Conversation& conversation) {
    std::optional<detail::TokenPair> found = one_turn(conversation);
    if (!found) return Dropped{lost_image};
    detail::TokenPair& whole = *found;
    const SplitLengths lengths = split_lengths(static_cast<int>(whole.source.size()),
                                               static_cast<int>(whole.target.size()), options_.cutoff_len);
    const int lost = static_cast<int>(whole.source.size()) - lengths.source;
    whole.source.resize(lengths.source), whole.target.resize(lengths.target);
    std::vector<detail::PlaceholderRun> runs;
    detail::add_runs(whole.source, vision_tokens_, runs);
    if (whole.source.empty() || runs != whole.runs || cuts_closing_mark(whole)) return does_not_fit();
    return EncodedSample{.ids = std::move(whole.source),
                         .labels = {},
                         .images = std::move(whole.images),
                         .origin = conversation.origin,
                         .answer = std::move(whole.target),
                         .lost = lost,
                         .videos = std::move(whole.videos),
                         .image_patches = std::move(whole.image_patches)};
  }

  /// A prompt with two answers as two sequences, the preferred one first. Both have the prompt of the first, and as
  /// much of it as the longer answer leaves. source  LLaMA-Factory, data/processor/pairwise.py
  Encoded encode_pair(const Conversation& conversation) {
    Conversation other = conversation;
    other.turns.back() = *conversation.rejected;
    std::optional<detail::TokenPair> chosen = one_turn(conversation), rejected = one_turn(other);
    if (!chosen || !rejected) return Dropped{lost_image};
    rejected->source = chosen->source;
    const int longer = static_cast<int>(std::max(chosen->target.size(), rejected->target.size()));
    const SplitLengths lengths = split_lengths(static_cast<int>(chosen->source.size()), longer, options_.cutoff_len);
    return with_roles({{*chosen, lengths, SequenceRole::chosen}, {*rejected, lengths, SequenceRole::rejected}},
                      conversation.origin);
  }

  /// A prompt with its answer, and with another record's answer.
  /// source  LLaMA-Factory, data/processor/feedback.py
  Encoded encode_judged(const Conversation& conversation) {
    Conversation other = conversation;
    other.turns.back() = *conversation.baseline;
    std::optional<detail::TokenPair> own = one_turn(conversation), baseline = one_turn(other);
    if (!own || !baseline) return Dropped{lost_image};
    const auto lengths = [&](const detail::TokenPair& pair) {
      return split_lengths(static_cast<int>(pair.source.size()), static_cast<int>(pair.target.size()),
                           options_.cutoff_len);
    };
    return with_roles({{*own, lengths(*own), *conversation.desirable ? SequenceRole::chosen : SequenceRole::rejected},
                       {*baseline, lengths(*baseline), SequenceRole::baseline}},
                      conversation.origin);
  }

  /// A text and the token that ends a turn, all learned: at most `most` tokens.
  EncodedSample encode_text(const std::string& text, std::size_t most, const std::string& origin) const {
    EncodedSample sample;
    sample.ids = tokenizer_->encode(cat(text, layout_.chat->turn_end));
    sample.origin = origin;
    if (sample.ids.size() > most) sample.ids.resize(most);
    sample.labels = sample.ids;
    return sample;
  }

  const ChatLayout& layout() const { return layout_; }

 private:
  static constexpr const char* lost_image =
      "an image or a video stands inside a thought that enable_thinking or mask_history removes";
  Dropped does_not_fit() const {
    return {cat("an image or a video does not fit into cutoff_len ", options_.cutoff_len)};
  }

  void check_media(const Conversation& conversation) const {
    data::check_media(conversation, *layout_.chat);
    if (tokens_of_.merge == 0 && !(conversation.images.empty() && conversation.videos.empty()))
      fail("the record has images or videos, and the model reads none: take it out of the data set");
    if (!layout_.takes_images && !(conversation.images.empty() && conversation.videos.empty()))
      fail("template ", layout_.name, " is for text alone, the record has images or videos: take the template of the ",
           "model, ", templates_text());
    if (!conversation.videos.empty() && vision_tokens_.video < 0)
      fail("tokenizer: it has no token ", layout_.chat->video_pad, ": it does not belong to a model of this template");
  }

  /// All but the last answer as the source, that answer as the target; or nothing, as tokenise() has it.
  std::optional<detail::TokenPair> one_turn(const Conversation& conversation) {
    check_media(conversation);
    const std::vector<detail::TokenPair> pairs =
        tokenise(conversation, {.enable_thinking = options_.enable_thinking,
                                .drop_history_thoughts = !options_.preserve_thinking,
                                .last_answer_only = true});
    if (pairs.empty()) return std::nullopt;
    detail::TokenPair whole{.source = {}, .target = pairs.back().target, .images = {}, .videos = {}, .runs = {}};
    for (const detail::TokenPair& pair : pairs) {
      detail::append(whole.source, pair.source);
      if (&pair != &pairs.back()) detail::append(whole.source, pair.target);
      detail::append(whole.images, pair.images);
      detail::append(whole.image_patches, pair.image_patches);
      detail::append(whole.videos, pair.videos);
      detail::append(whole.runs, pair.runs);
    }
    return whole;
  }

  /// A prompt and an answer of preference data, and how much is kept of both.
  struct JudgedAnswer {
    detail::TokenPair& pair;
    SplitLengths kept;
    SequenceRole role;
  };
  /// One sequence per answer.
  Encoded with_roles(std::initializer_list<JudgedAnswer> answers, const std::string& origin) const {
    EncodedSample sample{.ids = {}, .labels = {}, .images = {}, .origin = origin};
    for (const auto& [pair, kept, role] : answers) {
      pair.source.resize(static_cast<std::size_t>(std::min<int>(kept.source, static_cast<int>(pair.source.size()))));
      pair.target.resize(static_cast<std::size_t>(std::min<int>(kept.target, static_cast<int>(pair.target.size()))));
      if (detail::runs_of(pair, vision_tokens_) != pair.runs || cuts_closing_mark(pair)) return does_not_fit();
      if (pair.source.empty() || pair.target.empty()) return Dropped{"an answer or its prompt has no token"};
      detail::append(sample.ids, pair.source);
      sample.labels.resize(sample.ids.size(), ignored_label);
      detail::append(sample.ids, pair.target);
      detail::append(sample.labels, pair.target);
      detail::append(sample.images, pair.images);
      detail::append(sample.image_patches, pair.image_patches);
      detail::append(sample.videos, pair.videos);
      sample.sequences.push_back({static_cast<int>(sample.ids.size()), origin});
      sample.roles.push_back(role);
    }
    return sample;
  }

  std::vector<int> tokens(const std::vector<std::string>& texts) const {
    std::vector<int> ids;
    for (const std::string& text : texts) {
      const std::vector<int> more = tokenizer_->encode(text);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    return ids;
  }

  /// Puts an image's or a video's tokens, with their marks, in place of each <image> and <video>.
  std::string expand(std::string_view text, const Conversation& conversation, std::size_t& images, std::size_t& videos,
                     std::vector<detail::Placed>& placed) {
    const ChatFormat& format = *layout_.chat;
    std::string out;
    for (;;) {
      const std::size_t image = text.find(image_placeholder), video = text.find(video_placeholder);
      const std::size_t at = std::min(image, video);
      out += text.substr(0, at);
      if (at == std::string_view::npos) return out;
      detail::Placed& next = placed.emplace_back();
      if (at == image) {
        next.image = resolve_media(media_dir_, conversation.images[images++]);
        const Grid grid = images_.of(next.image);
        next.image_patches = grid.patches();
        next.runs.push_back({vision_tokens_.image, tokens_of_(grid)});
        out += format.image_begin;
        for (int i = 0; i < next.runs[0].length; ++i) out += format.image_pad;
        out += format.image_end;
      } else {
        next.video = videos_.plan(conversation.videos[videos++], media_dir_);
        for (const Grid& grid : next.video->grids) next.runs.push_back({vision_tokens_.video, tokens_of_(grid)});
        out += video_text(*next.video, tokens_of_, format);
      }
      text.remove_prefix(at + (at == image ? image_placeholder : video_placeholder).size());
    }
  }

  /// Gives a pair the images and videos whose runs it has, from `next` on. False if one is not there whole.
  static bool take_media(detail::TokenPair& pair, const std::vector<detail::Placed>& placed, std::size_t& next) {
    for (std::size_t run = 0; run < pair.runs.size(); ++next) {
      if (next == placed.size()) return false;
      const detail::Placed& one = placed[next];
      for (const detail::PlaceholderRun& wanted : one.runs)
        if (run == pair.runs.size() || pair.runs[run++] != wanted) return false;
      if (one.video) {
        pair.videos.push_back(one.video);
        continue;
      }
      pair.images.push_back(one.image);
      pair.image_patches.push_back(one.image_patches);
    }
    return true;
  }

  /// Renders and tokenises. No pair if the tokens do not hold every image and video whole: a removed thought took one
  /// along.
  std::vector<detail::TokenPair> tokenise(const Conversation& conversation, const RenderOptions& how) {
    std::vector<Turn> turns = conversation.turns;
    std::vector<detail::Placed> placed;
    std::size_t images = 0, videos = 0, next = 0;
    for (Turn& turn : turns) turn.content = expand(turn.content, conversation, images, videos, placed);
    std::vector<detail::TokenPair> pairs;
    for (const auto& rendered : render_pairs(layout_, std::move(turns), conversation.system, conversation.tools, how)) {
      detail::TokenPair& pair = pairs.emplace_back();
      pair.source = tokens(rendered.source), pair.target = tokens(rendered.target);
      pair.runs = detail::runs_of(pair, vision_tokens_);
      if (!take_media(pair, placed, next)) return {};
    }
    return next == placed.size() ? pairs : std::vector<detail::TokenPair>{};
  }

  /// Cuts the pairs, in this order, to cutoff_len. A pair that would lose part of an image or a video ends the sample
  /// before it, with all that follow: neither is ever cut. (LLaMA-Factory cuts it, and the step then fails.)
  std::vector<EncodedSample> cut(std::vector<detail::TokenPair>& pairs) const {
    std::vector<EncodedSample> kept;
    int used = 0;
    for (std::size_t p = 0; p < pairs.size() && used < options_.cutoff_len; ++p) {
      detail::TokenPair& pair = pairs[p];
      const SplitLengths lengths = split_lengths(static_cast<int>(pair.source.size()),
                                                 static_cast<int>(pair.target.size()), options_.cutoff_len - used);
      pair.source.resize(lengths.source), pair.target.resize(lengths.target);
      if (detail::runs_of(pair, vision_tokens_) != pair.runs || cuts_closing_mark(pair)) break;
      used += lengths.source + lengths.target;
      kept.push_back(labelled(pair, p == 0));
    }
    return kept;
  }

  /// Whether a part ends in the middle of an image's marks: its last token is a pad.
  bool cuts_closing_mark(const detail::TokenPair& pair) const {
    return (!pair.source.empty() && vision_tokens_(pair.source.back())) ||
           (!pair.target.empty() && vision_tokens_(pair.target.back()));
  }

  EncodedSample labelled(const detail::TokenPair& pair, bool first) const {
    EncodedSample part{.ids = pair.source,
                       .labels = pair.source,
                       .images = pair.images,
                       .origin = {},
                       .videos = pair.videos,
                       .image_patches = pair.image_patches};
    if (!options_.train_on_prompt) std::fill(part.labels.begin(), part.labels.end(), ignored_label);
    part.ids.insert(part.ids.end(), pair.target.begin(), pair.target.end());
    if (options_.mask_history && !first) {
      part.labels.resize(part.ids.size(), ignored_label);
    } else {
      part.labels.insert(part.labels.end(), pair.target.begin(), pair.target.end());
    }
    return part;
  }

  static EncodedSample join(const std::vector<EncodedSample>& parts, const std::string& origin) {
    EncodedSample sample{.ids = {}, .labels = {}, .images = {}, .origin = origin};
    for (const EncodedSample& part : parts) {
      detail::append(sample.ids, part.ids);
      detail::append(sample.labels, part.labels);
      detail::append(sample.images, part.images);
      detail::append(sample.image_patches, part.image_patches);
      detail::append(sample.videos, part.videos);
    }
    return sample;
  }

  const text::Tokenizer* tokenizer_;
  ChatLayout layout_;
  EncodeOptions options_;
  VisualTokens tokens_of_;
  ImageGrids images_;
  VideoPlans videos_;
  std::filesystem::path media_dir_;
  VisionTokens vision_tokens_;
};

}  // namespace lamina::data
