#pragma once
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/serve/base64.hpp>
#include <lamina/serve/jobs/byte_budget.hpp>
#include <lamina/serve/openai/api_error.hpp>
#include <lamina/serve/openai/request/kept_images.hpp>
#include <lamina/serve/prompt/prompt_video.hpp>
#include <lamina/vision/image.hpp>

namespace lamina::serve {

/// An image or a video as a request gives it, and the path of the field that did. Without a URL it is an image that
/// came before with the same uuid; with both it is kept for later.
struct MediaSource {
  std::string url, param, uuid = {};
};

/// A file that was fetched, and the memory that it counts for.
struct FetchedMedia {
  std::vector<std::uint8_t> bytes;
  ByteBudget::Share memory;
};
/// Fetches the file of an http:// or https:// URL, of at most so many bytes. Throws ApiError, which names the field,
/// and Cancelled.
using FetchMedia = std::function<FetchedMedia(const std::string& url, const std::string& param,
                                              std::uint64_t most_bytes, const std::stop_token& cancelled)>;

/// What the images of one request may cost, and what those with alpha are put on.
struct MediaLimits {
  std::filesystem::path allowed_folder = {};                 ///< of file:// URLs; empty: there are none
  std::int64_t max_image_pixels = vision::max_image_pixels;  ///< of one image
  std::int64_t max_request_pixels = std::int64_t{1} << 30;   ///< of all images of a request
  std::uint64_t max_file_bytes = std::uint64_t{256} << 20;   ///< of all files that a request names; as of a body
  FetchMedia fetch = {};                                     ///< of the web; empty: images there are refused
  std::chrono::milliseconds max_fetch_time{60'000};          ///< for all images of a request
  /// To decode and resize a request's images: `base_cpu_time`, and `cpu_time_per_mib` for each MiB of their files, at
  /// most `max_cpu_time`. Photographs of 24 megapixels take some 0.3 s for 2 MiB or more; files made to waste time are
  /// small for the time that they take.
  std::chrono::nanoseconds base_cpu_time = std::chrono::seconds(5);
  std::chrono::nanoseconds cpu_time_per_mib = std::chrono::milliseconds(500);
  std::chrono::nanoseconds max_cpu_time = std::chrono::seconds(20);
  vision::Colour background = {255, 255, 255};
  /// Of the process that decodes a video; its time is that of all videos of a request.
  vision::VideoLimits video = {.max_memory_bytes = std::uint64_t{1} << 30, .max_time = std::chrono::seconds(60)};
  std::int64_t max_video_pixels = std::int64_t{1} << 32;  ///< of all frames that a request's videos show
  vision::FrameWish frames = {};                          ///< --media-io-kwargs
  std::size_t kept_bytes = KeptImages::default_bytes;     ///< of files that requests gave a uuid

  std::chrono::nanoseconds cpu_time(std::uint64_t file_bytes) const {
    const auto kib = static_cast<std::int64_t>(std::min(file_bytes, max_file_bytes) >> 10);
    return std::min(max_cpu_time, base_cpu_time + cpu_time_per_mib / 1024 * kib);
  }
};

/// An image file of a request: its bytes and what its header says. uuid: it is to be kept under it; empty: it is not
struct EncodedImage {
  FetchedMedia file;
  vision::ImageHeader header;
  std::string param, uuid = {};
};

/// A video file of a request, and the frames that are seen.
struct EncodedVideo {
  PromptVideo video;
  ByteBudget::Share memory;
  std::string param;
};

/// True if it is on the web.
inline bool is_remote(const MediaSource& source) {
  return source.url.starts_with("http://") || source.url.starts_with("https://");
}

namespace detail {

inline std::vector<std::uint8_t> read_data_uri(std::string_view url, const std::string& param) {
  const std::size_t comma = url.find(',');
  const std::string_view head = url.substr(0, comma);
  if (comma == std::string_view::npos || !head.ends_with(";base64"))
    throw bad_field(param, param + ": a data: URL must be data:image/<type>;base64,<data>, or data:video/<type>");
  auto bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) throw bad_field(param, param + ": the data: URL does not hold valid base64");
  return *std::move(bytes);
}

/// Decodes %41; anything else stays as it is.
inline std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Is `file` strictly below `folder`, both without links?
inline bool is_below(const std::filesystem::path& file, const std::filesystem::path& folder) {
  auto at = file.begin();
  for (const auto& part : folder) {
    if (part.empty()) continue;
    if (at == file.end() || *at != part) return false;
    ++at;
  }
  return at != file.end();
}

/// Where an open descriptor leads now, without links; empty if that is not known.
inline std::filesystem::path path_of(int descriptor) {
  std::error_code error;
  return std::filesystem::read_symlink(cat("/proc/self/fd/", descriptor), error);
}

/// Takes what is read off `bytes_left`.
inline std::vector<std::uint8_t> read_file_url(std::string_view url, const std::string& param,
                                               const std::filesystem::path& allowed, std::uint64_t& bytes_left) {
  if (allowed.empty())
    throw bad_field(param, param + ": file:// needs the server to be started with --allowed-local-media-path");
  // One message for what is outside and what does not exist: files cannot be probed for.
  const auto refused = [&] { return bad_field(param, param + ": no such file below --allowed-local-media-path"); };
  url.remove_prefix(std::string_view("file://").size());
  if (url.starts_with("localhost/")) url.remove_prefix(std::string_view("localhost").size());
  const std::string decoded = percent_decoded(url);
  if (!decoded.starts_with('/') || decoded.find('\0') != std::string::npos) throw refused();
  std::error_code error;
  const auto folder = std::filesystem::canonical(allowed, error);
  if (error) throw refused();
  const auto path = std::filesystem::canonical(decoded, error);
  if (error || !is_below(path, folder)) throw refused();  // before it is opened: opening a device has effects
  // What counts is the file that was opened: between the check above and this the path may have changed.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
  try {
    vision::ImageFile file(descriptor, param);
    if (!is_below(path_of(descriptor), folder)) throw refused();
    if (file.size() > bytes_left)
      throw bad_field(param, cat(param, ": a file of ", file.size(), " bytes, ", bytes_left,
                                 " are left for the files of this request"));
    bytes_left -= file.size();
    return file.read_all();
  } catch (const Error&) {
    throw refused();
  }
}

}  // namespace detail

/// Fetches the images and videos of a request and reads their headers; none is decoded. Each URL is freed when it was
/// read. An image or video must be in a data: URL, in a file:// URL below the allowed folder, or on the web if
/// MediaLimits::fetch is set; ApiError 400 for anything else, and for more than the limits. Throws Cancelled.
class MediaReader {
 public:
  /// The limits and what is kept (null: nothing is) must outlive the reader. salt: the request's cache_salt
  explicit MediaReader(const MediaLimits& limits, KeptImages* kept = nullptr, std::string salt = {})
      : limits_(limits), kept_(kept), salt_(std::move(salt)), file_bytes_left_(limits.max_file_bytes) {}

  std::vector<EncodedImage> read(std::vector<MediaSource> sources, const std::stop_token& cancelled) {
    std::vector<EncodedImage> images;
    for (MediaSource& source : sources) {
      throw_if_stopped(cancelled);
      EncodedImage image{fetch(source, cancelled), {}, source.param, source.url.empty() ? "" : source.uuid};
      std::string().swap(source.url);
      read_header(image);
      images.push_back(std::move(image));
    }
    return images;
  }

  /// wish: what the request says about frames to the model's processor
  std::vector<EncodedVideo> read_videos(std::vector<MediaSource> sources, const vision::Processor& processor,
                                        const vision::FrameWish& wish, const std::stop_token& cancelled) {
    std::vector<EncodedVideo> videos;
    vision::VideoLimits limits = limits_.video;
    limits.stop = cancelled;
    std::int64_t pixels = 0;
    for (MediaSource& source : sources) {
      throw_if_stopped(cancelled);
      FetchedMedia file = fetch(source, cancelled);
      const bool is_new = !source.url.empty();
      std::string().swap(source.url);
      try {
        auto opened = std::make_shared<const vision::VideoFile>(file.bytes, source.param);
        videos.push_back({open_video(std::move(opened), processor, {wish, limits_.frames}, limits),
                          std::move(file.memory), source.param});
      } catch (const Error& e) {
        throw bad_field(source.param, "failed to load video: " + clipped(e.what(), 400));
      }
      if (is_new && kept_ && !source.uuid.empty()) kept_->keep({salt_, source.uuid}, std::move(file.bytes));
      const PromptVideo& video = videos.back().video;
      pixels += video.size.pixels() * std::ssize(video.choice.frames);
      if (pixels > limits_.max_video_pixels)
        throw bad_field(source.param,
                        cat(source.param, ": the frames of this request's videos have ", pixels, " pixels, at most ",
                            limits_.max_video_pixels, " are decoded: send smaller or shorter videos"));
    }
    return videos;
  }

 private:
  FetchedMedia fetch(const MediaSource& source, const std::stop_token& cancelled) {
    const std::string_view url = source.url;
    if (url.empty() && !source.uuid.empty()) return {find_kept(source), {}};
    if (url.starts_with("data:")) return {detail::read_data_uri(url, source.param), {}};
    if (url.starts_with("file://"))
      return {detail::read_file_url(url, source.param, limits_.allowed_folder, file_bytes_left_), {}};
    if (is_remote(source)) return fetch_remote(source, cancelled);
    throw bad_field(source.param, source.param + ": the URL " + clipped(url, 40) + " is not a data: URL");
  }

  std::vector<std::uint8_t> find_kept(const MediaSource& source) {
    const auto file = kept_ ? kept_->find({salt_, source.uuid}) : nullptr;
    if (!file)
      throw bad_field(source.param, cat(source.param, ": no image is kept under the uuid ", clipped(source.uuid),
                                        ": it was not sent yet, with another cache_salt, or too long ago; send it "
                                        "once more with its URL"));
    if (file->size() > file_bytes_left_)
      throw bad_field(source.param, cat(source.param, ": an image of ", file->size(), " bytes, ", file_bytes_left_,
                                        " are left for the files of this request"));
    file_bytes_left_ -= file->size();
    return *file;
  }

  FetchedMedia fetch_remote(const MediaSource& source, const std::stop_token& cancelled) {
    if (!limits_.fetch)
      throw bad_field("image_url", source.param +
                                       ": this server does not fetch images or videos from the web; send the file "
                                       "itself as data:image/png;base64,<data> or data:video/mp4;base64,<data>, or "
                                       "start the server with --allow-remote-media");
    const auto begin = std::chrono::steady_clock::now();
    if (fetch_time_ > limits_.max_fetch_time)
      throw bad_field(source.param, cat(source.param, ": the files before this one took more than ",
                                        limits_.max_fetch_time.count() / 1000, " s to fetch: send fewer"));
    FetchedMedia file = limits_.fetch(source.url, source.param, file_bytes_left_, cancelled);
    file_bytes_left_ -= file.bytes.size();
    fetch_time_ += std::chrono::steady_clock::now() - begin;
    return file;
  }

  void read_header(EncodedImage& image) {
    try {
      image.header = vision::read_image_header(image.file.bytes, image.param);
    } catch (const Error& e) {
      throw bad_field(image.param, "failed to load image: " + clipped(e.what(), 400));
    }
    const auto [width, height] = image.header.size;
    if (image.header.size.pixels() > limits_.max_image_pixels)
      throw bad_field(image.param, cat(image.param, ": an image of ", width, " x ", height, " pixels, at most ",
                                       limits_.max_image_pixels, " are decoded (VLLM_MAX_IMAGE_PIXELS)"));
    pixels_ += image.header.size.pixels();
    if (pixels_ > limits_.max_request_pixels)
      throw bad_field(image.param, cat(image.param, ": the images of this request up to this one have ", pixels_,
                                       " pixels, at most ", limits_.max_request_pixels,
                                       " are decoded: send fewer or smaller images"));
  }

  const MediaLimits& limits_;
  KeptImages* kept_;
  std::string salt_;
  std::uint64_t file_bytes_left_;
  std::chrono::steady_clock::duration fetch_time_{0};
  std::int64_t pixels_ = 0;
};

}  // namespace lamina::serve
