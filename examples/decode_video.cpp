// lamina-decode-video MEMORY_BYTES SECONDS MAX_PIXELS WHAT < VIDEO
//
// Decodes a video for another program of Lamina, which starts it: a process of its own, so that whatever a file does to
// FFmpeg's libraries ends here, within limits. It opens no file and no address: the video is its stdin.
//   MEMORY_BYTES  of address space
//   SECONDS       of processor time
//   MAX_PIXELS    of a frame
//   WHAT          facts; count or count:N, the same with the number of frames found by decoding (at most N of them); or
//                 numbers of frames, ascending: 0,12,25
// Output: vision/video/messages.hpp. On an error: status 1, and a line on stderr.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/program/version.hpp>
#include <lamina/vision/video/messages.hpp>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

namespace {

using lamina::vision::FrameHeader, lamina::vision::VideoFacts;

/// The containers of videos. Playlists and lists of files are left out: they name other files.
constexpr const char* containers =
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,m4v,ivf";

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::_Exit(1);
}

constexpr const char* no_video = "it is no video, or of a kind that is not read, or its beginning is broken";
constexpr const char* bad_frame = "it is broken: a frame cannot be decoded";

/// The result of a call of FFmpeg; below 0 it is an error. fault: what that says of the video.
int must(int result, const char* fault) {
  if (result >= 0) return result;
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(result, text, sizeof text);
  give_up(std::string(fault) + " (FFmpeg: " + text + "): convert it to MP4, or remove it from the data");
}
template <class T>
T* must(T* pointer, const char* doing) {
  if (!pointer) give_up(std::string(doing) + ": out of memory");
  return pointer;
}

constexpr const char* usage =
    "usage: lamina-decode-video MEMORY_BYTES SECONDS MAX_PIXELS facts | count[:MOST] | FRAME,FRAME,... <VIDEO\n       "
    "lamina-decode-video --version | --help\n"
    "The other programs start it, to decode a video within these limits.\n";

[[noreturn]] void misuse(const std::string& why) {
  std::fprintf(stderr, "%slamina-decode-video: %s\n", usage, why.c_str());
  std::_Exit(2);
}

/// The arguments.
struct Task {
  std::int64_t memory_bytes = 0, seconds = 0, max_pixels = 0;
  bool counts = false;
  std::int64_t most_counted = INT64_MAX;
  std::vector<std::int64_t> frames;
};

std::int64_t number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    misuse("wanted a number, got \"" + std::string(text) + "\"");
  return value;
}

Task read_task(int argc, char** argv) {
  if (argc != 5) misuse("wanted four arguments");
  Task task{number(argv[1]), number(argv[2]), number(argv[3]), false, INT64_MAX, {}};
  std::string_view what = argv[4];
  if (what == "facts") return task;
  if (what.substr(0, 5) == "count") {
    task.counts = true;
    if (what.size() > 6) task.most_counted = number(what.substr(6));
    return task;
  }
  for (std::size_t comma = 0; comma != std::string_view::npos; what.remove_prefix(comma + 1)) {
    comma = what.find(',');
    task.frames.push_back(number(what.substr(0, comma)));
    if (comma == std::string_view::npos) break;
  }
  return task;
}

/// Everything that this process may take. Its parent ends it, too, if that ends.
void set_limits(const Task& task) {
  const auto limit = [](auto resource, rlim_t value) {
    const rlimit limits{value, value};
    if (::setrlimit(resource, &limits) != 0) give_up(std::string("setrlimit: ") + std::strerror(errno));
  };
  limit(RLIMIT_AS, static_cast<rlim_t>(task.memory_bytes));
  limit(RLIMIT_CPU, static_cast<rlim_t>(task.seconds));
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 3);  // those that it has: it opens nothing
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGXFSZ, SIG_IGN);
}

/// stdin, which is a file or memory, as FFmpeg reads it.
class Input {
 public:
  Input() {
    struct stat status {};
    if (::fstat(0, &status) != 0 || !S_ISREG(status.st_mode)) give_up("stdin is not a file");
    size_ = status.st_size;
    constexpr int buffer_bytes = 1 << 16;
    auto* buffer = static_cast<unsigned char*>(must(av_malloc(buffer_bytes), "reading"));
    io_ = must(avio_alloc_context(buffer, buffer_bytes, 0, this, read, nullptr, seek), "reading");
  }
  AVIOContext* io() const { return io_; }

 private:
  static int read(void* self, std::uint8_t* to, int count) {
    auto& in = *static_cast<Input*>(self);
    const ssize_t n = ::pread(0, to, static_cast<std::size_t>(count), in.at_);
    if (n <= 0) return n == 0 ? AVERROR_EOF : AVERROR(errno);
    in.at_ += n;
    return static_cast<int>(n);
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    auto& in = *static_cast<Input*>(self);
    if (whence & AVSEEK_SIZE) return in.size_;
    whence &= ~AVSEEK_FORCE;
    const std::int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? in.at_ : in.size_;
    if (base + offset < 0) return AVERROR(EINVAL);
    return in.at_ = base + offset;
  }

  AVIOContext* io_ = nullptr;
  std::int64_t size_ = 0, at_ = 0;
};

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) { return AVERROR(EPERM); }

void write_all(const void* bytes, std::size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t n = ::write(1, at, count);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) std::_Exit(1);  // nobody listens any more
    at += n, count -= static_cast<std::size_t>(n);
  }
}

/// A video and its decoder. The process ends after it, which frees everything.
class Video {
 public:
  explicit Video(std::int64_t max_pixels) : context_(must(avformat_alloc_context(), "opening")) {
    context_->pb = input_.io();
    context_->io_open = refuse_to_open;
    AVDictionary* options = nullptr;
    must(av_dict_set(&options, "format_whitelist", containers, 0), "opening");
    must(avformat_open_input(&context_, "", nullptr, &options), no_video);
    must(avformat_find_stream_info(context_, nullptr), no_video);
    stream_ = find_stream();
    const AVCodec* codec = avcodec_find_decoder(stream_->codecpar->codec_id);
    if (!codec)
      give_up(std::string("this FFmpeg has no decoder for ") + avcodec_get_name(stream_->codecpar->codec_id) +
              ": convert it to H.264");
    decoder_ = must(avcodec_alloc_context3(codec), "its decoder");
    must(avcodec_parameters_to_context(decoder_, stream_->codecpar), "its decoder cannot be set up");
    decoder_->max_pixels = max_pixels;
    decoder_->thread_count = 1;
    decoder_->pkt_timebase = stream_->time_base;
    must(avcodec_open2(decoder_, codec, nullptr), "its decoder cannot be set up");
  }

  VideoFacts facts() const {
    VideoFacts out;
    out.frames = stream_->nb_frames;
    if (stream_->duration != AV_NOPTS_VALUE)
      out.seconds = static_cast<double>(stream_->duration) * stream_->time_base.num / stream_->time_base.den;
    if (stream_->avg_frame_rate.num > 0 && stream_->avg_frame_rate.den > 0) out.fps = av_q2d(stream_->avg_frame_rate);
    out.width = stream_->codecpar->width, out.height = stream_->codecpar->height;
    return out;
  }

  /// The next frame as it is shown, or null behind the last.
  const AVFrame* next() {
    for (;;) {
      const int result = avcodec_receive_frame(decoder_, frame_);
      if (result >= 0) return frame_;
      if (result == AVERROR_EOF) return nullptr;
      if (result != AVERROR(EAGAIN)) must(result, bad_frame);
      send();
    }
  }

 private:
  /// The first video, but no cover picture.
  AVStream* find_stream() const {
    for (unsigned i = 0; i < context_->nb_streams; ++i) {
      AVStream* stream = context_->streams[i];
      if (stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !(stream->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return stream;
    }
    give_up("it has sound or images, and no video: remove it from the data");
  }
  void send() {
    while (!drained_) {
      const int result = av_read_frame(context_, packet_);
      if (result == AVERROR_EOF) {
        drained_ = true;
        must(avcodec_send_packet(decoder_, nullptr), bad_frame);
        return;
      }
      must(result, "it is broken: not all of it can be read");
      const bool ours = packet_->stream_index == stream_->index;
      if (ours) must(avcodec_send_packet(decoder_, packet_), bad_frame);
      av_packet_unref(packet_);
      if (ours) return;
    }
  }

  Input input_;
  AVFormatContext* context_;
  AVStream* stream_ = nullptr;
  AVCodecContext* decoder_ = nullptr;
  AVFrame* frame_ = must(av_frame_alloc(), "decoding");
  AVPacket* packet_ = must(av_packet_alloc(), "decoding");
  bool drained_ = false;
};

/// Frames as RGB, by the conversion that PyAV's VideoFrame.to_image() asks for.
class Converter {
 public:
  void write(const AVFrame& frame, std::int64_t number) {
    const FrameHeader header{number, frame.width, frame.height};
    write_all(&header, sizeof header);
    scaler_ =
        must(sws_getCachedContext(scaler_, frame.width, frame.height, static_cast<AVPixelFormat>(frame.format),
                                  frame.width, frame.height, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr, nullptr),
             "its colours");
    if (!rgb_ || rgb_->width != frame.width || rgb_->height != frame.height) make_room(frame);
    must(sws_scale(scaler_, frame.data, frame.linesize, 0, frame.height, rgb_->data, rgb_->linesize),
         "its colours cannot be converted");
    const auto row = static_cast<std::size_t>(frame.width) * 3;
    rows_.resize(row * static_cast<std::size_t>(frame.height));
    for (int y = 0; y < frame.height; ++y)
      std::memcpy(&rows_[static_cast<std::size_t>(y) * row], rgb_->data[0] + std::ptrdiff_t{y} * rgb_->linesize[0],
                  row);
    write_all(rows_.data(), rows_.size());
  }

 private:
  void make_room(const AVFrame& frame) {
    av_frame_free(&rgb_);
    rgb_ = must(av_frame_alloc(), "its colours");
    rgb_->format = AV_PIX_FMT_RGB24;
    rgb_->width = frame.width, rgb_->height = frame.height;
    must(av_frame_get_buffer(rgb_, 0), "its colours cannot be converted");
  }
  SwsContext* scaler_ = nullptr;
  AVFrame* rgb_ = nullptr;
  std::vector<std::uint8_t> rows_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view word = argc == 2 ? argv[1] : "";
  if (word == "--version" || word == "--help") {
    std::fputs(word == "--help" ? usage : (std::string(lamina::version) + "\n").c_str(), stdout);
    return 0;
  }
  const Task task = read_task(argc, argv);
  set_limits(task);
  av_log_set_level(AV_LOG_QUIET);
  Video video(task.max_pixels);
  VideoFacts facts = video.facts();
  if (task.counts)
    for (facts.frames = 0; facts.frames < task.most_counted && video.next();) ++facts.frames;
  write_all(&facts, sizeof facts);
  Converter converter;
  std::int64_t at = -1;
  for (const std::int64_t wanted : task.frames) {
    const AVFrame* frame = nullptr;
    for (; at < wanted; ++at)
      if (!(frame = video.next()))
        give_up("it ends after " + std::to_string(at + 1) + " frames, frame " + std::to_string(wanted) +
                " is wanted: the file is cut off, or its header is wrong");
    if (!frame) misuse("the numbers of frames do not ascend");
    converter.write(*frame, wanted);
  }
  std::_Exit(0);
}
