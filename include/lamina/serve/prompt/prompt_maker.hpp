#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <lamina/core/machine/resources.hpp>
#include <lamina/engine/images/image_hash.hpp>
#include <lamina/serve/jobs/byte_budget.hpp>
#include <lamina/serve/openai/request/chat/chat_request.hpp>
#include <lamina/serve/openai/request/completion_request.hpp>
#include <lamina/serve/openai/request/media.hpp>
#include <lamina/serve/prompt/prompt.hpp>

namespace lamina::serve {

/// A request's prompt before any image or video is decoded: its length is known, and was accepted.
struct PlannedPrompt {
  PromptPlan plan;
  vision::Processor processor;  ///< with the request's own limits of pixels
  std::vector<EncodedImage> images;
  std::vector<EncodedVideo> videos;
  std::string salt = {};  ///< with which images are kept
};

/// What the model reads. The memory of the patches counts against the server's budget as long as this lives.
struct PreparedPrompt {
  Batch batch;
  std::vector<engine::ImageSpan> images;
  ByteBudget::Share memory;
};

/// Bytes that decoded images and patches may take by default: a quarter of what the process may still use (its control
/// group's limit, if it has one), at least 256 MiB.
inline std::int64_t default_media_bytes() { return std::max(available_memory() / 4, std::int64_t{256} << 20); }

/// Makes the prompts of requests, cheapest checks first: images and videos are counted, then their headers read,
/// then the length in tokens is known and checked, and only then is one after the other decoded, cut into patches and
/// dropped.
class PromptMaker {
 public:
  /// `files` must outlive this. media_bytes: bytes that the images of all requests may hold at once, decoded and as
  /// patches; 0: default_media_bytes(). patience: how long the images of a request wait for a part of them.
  PromptMaker(const ModelFiles& files, MediaLimits limits, std::int64_t media_bytes,
              std::chrono::milliseconds patience = std::chrono::seconds(5))
      : files_(files),
        limits_(std::move(limits)),
        patience_(patience),
        budget_(media_bytes > 0 ? media_bytes : default_media_bytes()),
        kept_(limits_.kept_bytes) {}

  /// Errors are ApiErrors 400, or 503 if the budget has no room for a long text; throws Cancelled.
  PlannedPrompt plan(ChatRequest& request, const PromptLimits& limits) {
    PlannedPrompt out{{}, processor_for(request), {}, {}, request.cache_salt};
    require_image_model(request);
    MediaReader reader(limits_, &kept_, out.salt);
    out.images = reader.read(std::exchange(request.chat.images, {}), limits.cancelled);
    require_video_model(request);
    out.videos =
        reader.read_videos(std::exchange(request.chat.videos, {}), out.processor, request.frames, limits.cancelled);
    std::vector<vision::ImageSize> sizes;
    std::vector<PromptVideo> videos;
    for (const auto& image : out.images) sizes.push_back(image.header.size);
    for (const auto& video : out.videos) videos.push_back(video.video);
    try {
      const TextSize size = text_size(request.chat.messages, request.template_options);
      check_text_size(size, files_.tokenizer, limits);
      const auto text_memory = take_for_text(size.bytes, limits.cancelled);
      out.plan =
          plan_prompt(files_, out.processor, request.chat.messages, request.template_options, sizes, videos, limits);
    } catch (const PromptTooLong& e) {
      throw bad_field(e.for_any_answer ? "messages" : "max_tokens", e.what());
    } catch (const Error& e) {
      throw bad_field("messages", clipped(e.what(), 400));
    }
    return out;
  }

  /// The prompt of /v1/completions. Errors as plan()'s.
  PreparedPrompt completion(const CompletionPrompt& prompt, const PromptLimits& limits) {
    try {
      PromptPlan plan;
      if (const auto* text = std::get_if<std::string>(&prompt)) {
        check_text_size({std::ssize(*text), count_characters(*text)}, files_.tokenizer, limits);
        const auto text_memory = take_for_text(std::ssize(*text), limits.cancelled);
        const auto most = 2 * static_cast<std::size_t>(limits.max_model_len);
        plan.ids = files_.tokenizer.encode(*text, {.max_ids = most, .cancelled = limits.cancelled});
      } else {
        plan.ids = std::get<std::vector<int>>(prompt);
      }
      if (std::find_if(plan.ids.begin(), plan.ids.end(), files_.pads) != plan.ids.end())
        fail("holds ", files_.family->chat.image_pad, " or ", files_.family->chat.video_pad,
             ", the place of an image or a video: these are sent to /v1/chat/completions");
      truncate(plan.ids, limits);
      detail::refuse_length(limits, std::ssize(plan.ids), false);
      return {std::move(plan).batch(), {}, {}};
    } catch (const text::TooManyIds& e) {
      throw bad_field("prompt", context_length_message(limits.max_model_len, limits.output_tokens,
                                                       static_cast<std::int64_t>(e.at_least), true));
    } catch (const PromptTooLong& e) {
      throw bad_field(e.for_any_answer ? "prompt" : "max_tokens", e.what());
    } catch (const Error& e) {
      throw bad_field("prompt", cat("prompt: ", clipped(e.what(), 400)));
    }
  }

  /// Decodes the images and videos, as soon as the budget has room for them. Errors are ApiErrors 400, or 503 if it has
  /// none in time; throws Cancelled.
  PreparedPrompt read_media(PlannedPrompt planned, const std::stop_token& cancelled) {
    const auto row_length = static_cast<std::size_t>(planned.processor.row_length());
    std::size_t values = 0;
    for (const Grid& grid : planned.plan.grids) values += static_cast<std::size_t>(grid.patches()) * row_length;
    const auto patch_bytes = static_cast<std::int64_t>(values * sizeof(float));
    auto memory = take_for_media(patch_bytes, planned, cancelled);
    const std::vector<PromptPlan::Medium> media = planned.plan.media;
    const std::vector<VideoPlace> places = planned.plan.videos;
    PreparedPrompt out{std::move(planned.plan).batch(), {}, std::move(memory)};
    out.batch.patches.reserve(values);
    DecodingTime time(limits_, planned, cancelled);
    std::vector<engine::ImageHash> hashes;
    for (const PromptPlan::Medium& medium : media) {
      if (medium.is_video)
        append_video(planned.videos[medium.number], places[medium.number], planned.processor, time, out.batch, hashes);
      else
        append_image(planned, planned.images[medium.number], time, out.batch, hashes);
    }
    out.memory.shrink_to(patch_bytes);
    out.images = engine::place_images(out.batch, hashes, files_.pads, planned.processor.visual_tokens());
    return out;
  }

  /// The ids of a text in which every added token is recognised, as by vLLM's /tokenize. Errors are ApiErrors 400, or
  /// 503 if the budget has no room for a long text; throws Cancelled.
  std::vector<int> tokenize(std::string_view text, const std::stop_token& cancelled) {
    constexpr std::size_t most = std::size_t{16} << 20;
    if (text.size() > most)
      throw bad_field("prompt", cat("prompt: ", text.size(), " bytes, at most ", most, " are tokenized at once"));
    try {
      const auto memory = take_for_text(std::ssize(text), cancelled);
      return files_.tokenizer.encode(text, {.cancelled = cancelled});
    } catch (const Error& e) {
      throw bad_field("prompt", cat("prompt: ", e.what()));
    }
  }

  const ByteBudget& budget() const { return budget_; }

 private:
  /// The time that is left to decode a request's images and videos.
  struct DecodingTime {
    vision::DecodeLimits images;
    vision::VideoLimits videos;
    std::chrono::nanoseconds of_images, of_videos;
    DecodingTime(const MediaLimits& limits, const PlannedPrompt& planned, const std::stop_token& cancelled)
        : videos(limits.video), of_videos(limits.video.max_time) {
      std::uint64_t file_bytes = 0;
      for (const EncodedImage& encoded : planned.images) file_bytes += encoded.file.bytes.size();
      of_images = limits.cpu_time(file_bytes);
      images = {.max_pixels = limits.max_image_pixels, .max_cpu_time = of_images, .stop = cancelled};
      videos.stop = cancelled;
    }
  };

  void append_image(const PlannedPrompt& planned, EncodedImage& encoded, DecodingTime& time, Batch& batch,
                    std::vector<engine::ImageHash>& hashes) {
    if (time.images.max_cpu_time <= std::chrono::nanoseconds::zero())
      throw bad_field(encoded.param,
                      cat(encoded.param, ": the images before this one took ",
                          std::chrono::duration<double>(time.of_images).count(),
                          " s of processor time, all that images of so few bytes get: send fewer images"));
    const auto before = vision::detail::thread_cpu_time();
    const vision::Image image = decode(encoded, time.images);
    hashes.push_back(hash(image, planned.processor, batch.grids[hashes.size()]));
    planned.processor.append_patches(image, batch.patches);
    if (!encoded.uuid.empty()) kept_.keep({planned.salt, encoded.uuid}, std::move(encoded.file.bytes));
    encoded.file = {};
    time.images.max_cpu_time -= vision::detail::thread_cpu_time() - before;
  }

  /// Each run of a video's tokens is cached like an image: what the tower reads, and its step in time, identify it.
  void append_video(EncodedVideo& encoded, const VideoPlace& place, const vision::Processor& processor,
                    DecodingTime& time, Batch& batch, std::vector<engine::ImageHash>& hashes) const {
    using namespace std::chrono;
    const auto begin = steady_clock::now();
    time.videos.max_time = duration_cast<seconds>(time.of_videos);
    const Grid clip = place.clip();
    const auto row = static_cast<std::size_t>(processor.row_length());
    const std::size_t start = batch.patches.size();
    batch.patches.resize(start + static_cast<std::size_t>(clip.patches()) * row);
    const std::span<float> patches = std::span(batch.patches).subspan(start);
    try {
      write_patches(encoded.video, clip, processor, patches, time.videos);
    } catch (const Error& e) {
      throw bad_field(encoded.param, "failed to load video: " + clipped(e.what(), 400));
    }
    for (std::size_t run = 0, at = 0; run < place.grids.size(); ++run) {
      const auto values = static_cast<std::size_t>(place.grids[run].patches()) * row;
      hashes.push_back(engine::hash_patches(place.grids[run], patches.subspan(at, values)));
      at += values;
    }
    encoded = {};
    time.of_videos -= steady_clock::now() - begin;
  }

  /// ApiError 400 if a request has images, and the model reads none.
  void require_image_model(const ChatRequest& request) const {
    if (request.chat.images.empty() || files_.pads.image >= 0) return;
    const std::string& param = request.chat.images.front().param;
    throw bad_field(param, param + ": the model reads no images");
  }
  /// ApiError 400 if a request has videos that this model does not read, or limits of pixels that would be images'
  /// only.
  void require_video_model(const ChatRequest& request) const {
    if (request.chat.videos.empty()) return;
    const std::string& param = request.chat.videos.front().param;
    if (files_.pads.video < 0) throw bad_field(param, param + ": the model reads no videos");
    if (request.min_pixels || request.max_pixels)
      throw bad_field("mm_processor_kwargs",
                      "mm_processor_kwargs: min_pixels and max_pixels are of images, and the request has a video: send "
                      "it without them");
  }

  vision::Processor processor_for(const ChatRequest& request) const {
    auto processor = files_.processor;
    if (request.min_pixels) processor.min_pixels = *request.min_pixels;
    if (request.max_pixels) processor.max_pixels = *request.max_pixels;
    if (processor.min_pixels > processor.max_pixels)
      throw wrong_field("mm_processor_kwargs.min_pixels", cat(processor.min_pixels),
                        cat("at most max_pixels, ", processor.max_pixels));
    return processor;
  }

  /// Memory for the merging of one word that is as long as all text: copies, and some 60 bytes per byte in Bpe. Texts
  /// of usual lengths are not worth counting. Nobody waits for it: the thread may be one that serves short requests.
  ByteBudget::Share take_for_text(std::int64_t text_bytes, const std::stop_token& cancelled) {
    if (text_bytes < std::int64_t{1} << 20) return {};
    const std::int64_t bytes = 64 * text_bytes;
    if (bytes > budget_.total())
      fail("text of ", text_bytes, " bytes needs up to ", bytes, " bytes of memory, at most ", budget_.total(),
           " are used by this server: send a shorter text");
    return budget_.take(bytes, cancelled, std::chrono::milliseconds(0));
  }

  /// Memory for the patches of all images and videos, and for decoding and resizing the largest image or frame. (The
  /// process that decodes a video has a limit of its own.)
  ByteBudget::Share take_for_media(std::int64_t patch_bytes, const PlannedPrompt& planned,
                                   const std::stop_token& cancelled) {
    const auto total = static_cast<std::uint64_t>(budget_.total());
    std::int64_t bytes = 0;
    const auto needs = [&](vision::ImageSize size, const Grid& grid, std::uint64_t decoding) {
      const std::int64_t side = planned.processor.patch_size, resized = std::int64_t{grid.h} * grid.w * side * side;
      const std::int64_t resizing = 3 * (std::max(size.pixels(), resized) + resized);  // of one side, then both
      bytes = std::max(bytes, static_cast<std::int64_t>(std::min(decoding, total)) + resizing);
    };
    std::size_t grid = 0;
    for (const PromptPlan::Medium& medium : planned.plan.media) {
      const Grid& first = planned.plan.grids[grid];
      if (medium.is_video) {
        const auto& video = planned.videos[medium.number].video;
        needs(video.size, first, static_cast<std::uint64_t>(video.size.pixels()) * 3);
      } else {
        const auto& header = planned.images[medium.number].header;
        needs(header.size, first, header.working_bytes);
      }
      grid += medium.is_video ? planned.plan.videos[medium.number].grids.size() : 1;
    }
    bytes += patch_bytes;
    if (bytes > budget_.total())
      throw bad_field("messages",
                      cat("messages: the images and videos need ", bytes, " bytes of memory when decoded, ", "at most ",
                          budget_.total(), " are used by this server: send fewer or smaller ", "ones"));
    return budget_.take(bytes, cancelled, patience_);
  }

  /// Of the decoded pixels, not of the file: equal bytes may be decoded to other shapes and colours.
  static engine::ImageHash hash(const vision::Image& image, const vision::Processor& processor, const Grid& grid) {
    engine::ImageHasher hasher;
    for (const int size : {image.width, image.height, grid.t, grid.h, grid.w, processor.patch_size,
                           processor.temporal_patch_size, processor.merge_size})
      hasher.add(size);
    hasher.add(std::span<const float>(processor.mean)).add(std::span<const float>(processor.std));
    return hasher.add(std::span<const std::uint8_t>(image.rgb)).finish();
  }

  vision::Image decode(const EncodedImage& encoded, const vision::DecodeLimits& limits) const {
    throw_if_stopped(limits.stop);
    try {
      vision::Image image = vision::decode_image(encoded.file.bytes, encoded.param, limits);
      vision::put_on_background(image, limits_.background);
      return image;
    } catch (const Error& e) {
      throw_if_stopped(limits.stop);
      throw bad_field(encoded.param, "failed to load image: " + clipped(e.what(), 400));
    }
  }

  const ModelFiles& files_;
  MediaLimits limits_;
  std::chrono::milliseconds patience_;
  ByteBudget budget_;
  KeptImages kept_;
};

}  // namespace lamina::serve
