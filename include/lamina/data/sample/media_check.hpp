#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/data/sample/video_plan.hpp>
#include <lamina/vision/image.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

/// Decodes the images and videos of a run once before it begins, so that a broken one does not end it at some later
/// step.

namespace lamina::data {

/// Takes one line of text about work that goes on.
using ProgressLine = std::function<void(const std::string&)>;

/// What was found in the files of a run.
struct MediaCheck {
  std::map<std::filesystem::path, std::string> broken;  ///< files that cannot be decoded, and why
  int images = 0, with_alpha = 0, rotated = 0;          ///< files; with_alpha and rotated of those not broken
};

namespace detail {

/// Bounds the memory of images that are decoded at the same time. One image alone may take more.
class DecodingMemory {
 public:
  /// The bytes of one image, while it exists. The constructor waits until they are free.
  class Share {
   public:
    Share(DecodingMemory& memory, std::uint64_t bytes) : memory_(memory), bytes_(bytes) {
      std::unique_lock lock(memory.mutex_);
      memory.freed_.wait(lock, [&] { return memory.used_ == 0 || memory.used_ + bytes <= limit; });
      memory.used_ += bytes;
    }
    ~Share() {
      {
        const std::lock_guard lock(memory_.mutex_);
        memory_.used_ -= bytes_;
      }
      memory_.freed_.notify_all();
    }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    DecodingMemory& memory_;
    std::uint64_t bytes_;
  };

 private:
  static constexpr std::uint64_t limit = std::uint64_t{1} << 30;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::uint64_t used_ = 0;
};

/// Decodes files on several threads and collects what it finds.
class MediaChecker {
 public:
  MediaChecker(std::vector<std::filesystem::path> images, std::vector<std::shared_ptr<const VideoPlan>> videos)
      : images_(std::move(images)), videos_(std::move(videos)) {}

  MediaCheck run(const ProgressLine& progress) {
    const int threads = std::clamp(static_cast<int>(count()), 1, thread_count());
    {
      std::vector<std::jthread> workers;
      for (int i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
      report_until_done(progress);
    }
    found_.images = static_cast<int>(images_.size());
    return std::move(found_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void work() {
    for (std::size_t i = next_++; i < count(); i = next_++) {
      i < images_.size() ? check(images_[i]) : check(*videos_[i - images_.size()]);
      const std::lock_guard lock(mutex_);
      if (++done_ == count()) finished_.notify_all();
    }
  }
  std::size_t count() const { return images_.size() + videos_.size(); }

  /// Another process decodes; the frames come one by one.
  void check(const VideoPlan& plan) {
    try {
      vision::read_frames(vision::VideoFile(plan.file), plan.choice.frames, [](std::size_t, const vision::Image&) {});
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      found_.broken[plan.file] = error.what();
    }
  }
  void check(const std::filesystem::path& path) {
    try {
      vision::ImageFile file(path);
      const vision::ImageHeader header = vision::read_image_header(file);
      const std::uint64_t bytes = header.working_bytes + file.size();
      const DecodingMemory::Share share(memory_, bytes);
      const vision::Image image = vision::load_image(file);
      const std::lock_guard lock(mutex_);
      found_.with_alpha += !image.alpha.empty();
      found_.rotated += header.orientation != 1;
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      found_.broken[path] = error.what();
    }
  }

  void report_until_done(const ProgressLine& progress) {
    constexpr auto interval = std::chrono::seconds(10);
    const auto started = Clock::now();
    std::unique_lock lock(mutex_);
    while (!finished_.wait_for(lock, interval, [&] { return done_ == count(); })) {
      const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
      const double rate = static_cast<double>(done_) / seconds;
      const std::string left =
          done_ ? cat(", ", static_cast<long>(static_cast<double>(count() - done_) / rate), " s left") : "";
      if (progress)
        progress(cat("images and videos: ", done_, " of ", count(), " decoded, ", static_cast<long>(rate),
                     " per second", left));
    }
  }

  std::vector<std::filesystem::path> images_;
  std::vector<std::shared_ptr<const VideoPlan>> videos_;  ///< files
  DecodingMemory memory_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;  ///< of what follows
  std::condition_variable finished_;
  std::size_t done_ = 0;
  MediaCheck found_;
};

}  // namespace detail

/// Decodes every image and every chosen frame of the samples, each file once, on thread_count() threads. Nothing is
/// resized. `progress` gets a line every ten seconds.
inline MediaCheck check_media_files(const std::vector<const std::vector<EncodedSample>*>& sets,
                                    const ProgressLine& progress = {}) {
  std::set<std::filesystem::path> images;
  std::map<std::filesystem::path, std::shared_ptr<const VideoPlan>> videos;
  for (const std::vector<EncodedSample>* samples : sets)
    for (const EncodedSample& sample : *samples) {
      images.insert(sample.images.begin(), sample.images.end());
      for (const auto& video : sample.videos) {
        images.insert(video->images.begin(), video->images.end());
        if (!video->file.empty()) videos.emplace(video->file, video);
      }
    }
  std::vector<std::shared_ptr<const VideoPlan>> plans;
  for (const auto& [file, plan] : videos) plans.push_back(plan);
  return detail::MediaChecker({images.begin(), images.end()}, std::move(plans)).run(progress);
}

/// The files that a sample shows.
inline std::vector<std::filesystem::path> files_of(const EncodedSample& sample) {
  std::vector<std::filesystem::path> files = sample.images;
  for (const auto& video : sample.videos) {
    files.insert(files.end(), video->images.begin(), video->images.end());
    if (!video->file.empty()) files.push_back(video->file);
  }
  return files;
}

/// Takes samples with broken images and videos out. `wrong(origin, message)` is called for each.
template <class Wrong>
void remove_broken(std::vector<EncodedSample>& samples, const MediaCheck& check, Wrong wrong) {
  std::erase_if(samples, [&](const EncodedSample& sample) {
    for (const auto& path : files_of(sample))
      if (const auto found = check.broken.find(path); found != check.broken.end()) {
        wrong(sample.origin, found->second);
        return true;
      }
    return false;
  });
}

/// One line about what is done with alpha channels and EXIF rotation, or none if no image has either.
inline std::vector<std::string> media_notes(const MediaCheck& check) {
  const auto have = [](int n) { return n == 1 ? " has " : " have "; };
  std::vector<std::string> parts;
  if (check.with_alpha)
    parts.push_back(cat(check.with_alpha, have(check.with_alpha), "an alpha channel, which is dropped"));
  if (check.rotated) parts.push_back(cat(check.rotated, have(check.rotated), "an EXIF rotation, which is not applied"));
  if (parts.empty()) return {};
  return {cat("images: of ", check.images, ", ", parts[0], parts.size() > 1 ? "; " + parts[1] : "",
              " (as in LLaMA-Factory)")};
}

}  // namespace lamina::data
