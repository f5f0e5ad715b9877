#pragma once
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <lamina/compose/vision_language.hpp>
#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/layer/learned_position.hpp>
#include <lamina/layer/rope.hpp>

/// From a batch to what layers look up: positions, rotary tables, segment bounds, window order. Plain host code, run
/// once a batch; the vectors keep their memory from batch to batch.
namespace lamina {

/// The position (time, height, width) of every token, and the position of each sequence's next token.
struct Positions {
  std::vector<std::array<int, 3>> of_token;
  std::vector<int> next;         ///< one a sequence: position of its first generated token, on all axes
  std::vector<int> visual_rows;  ///< token index of each merged vision row, in order of images
};

namespace detail {

/// Positions of the tokens of an image that begins at token n, in the order (t, y, x); returns the token behind them.
inline int place_grid(const Batch& batch, std::size_t number, const Grid& grid, int end, int n, int counter,
                      Positions& out) {
  const int tokens = grid.patches(), token = batch.ids[static_cast<std::size_t>(n)];
  if (tokens > end - n)
    fail("batch: image ", number, " needs ", tokens, " placeholder tokens from token ", n,
         ", but its sequence ends at ", end);
  for (int t = 0; t < grid.t; ++t) {
    const int time = counter + static_cast<int>(static_cast<float>(t) * grid.time_step);
    for (int y = 0; y < grid.h; ++y)
      for (int x = 0; x < grid.w; ++x, ++n) {
        if (batch.ids[static_cast<std::size_t>(n)] != token)
          fail("batch: image ", number, " needs ", tokens, " placeholder tokens, but token ", n, " is another one");
        out.of_token[static_cast<std::size_t>(n)] = {time, counter + y, counter + x};
        out.visual_rows.push_back(n);
      }
  }
  return n;
}

}  // namespace detail

/// Text counts up by one on all axes; an image or video of t x h x w tokens at counter p puts (t, y, x) at
/// (p + floor(t * time_step), p + y, p + x), and the counter goes on after the largest of them.
/// source: Wang et al. 2024, arXiv:2409.12191, section 2.1; time: Qwen2.5-VL's fine-tuning code, rope2d.py
inline void find_positions(const Batch& batch, VisualTokens visual_tokens, VisionTokens vision_tokens, Positions& out) {
  const int tokens = static_cast<int>(batch.ids.size());
  out.of_token.resize(static_cast<std::size_t>(tokens));
  out.next.clear();
  out.visual_rows.clear();
  std::size_t image = 0;
  for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    int counter = 0;
    for (int n = batch.cu_seqlens[s]; n < batch.cu_seqlens[s + 1];) {
      if (!vision_tokens(batch.ids[static_cast<std::size_t>(n)])) {
        out.of_token[static_cast<std::size_t>(n++)] = {counter, counter, counter};
        ++counter;
        continue;
      }
      if (image == batch.grids.size())
        fail("batch: token ", n, " is an image placeholder, but all ", image, " images are used up");
      const Grid grid = visual_tokens.grid(batch.grids[image]);
      n = detail::place_grid(batch, image++, grid, batch.cu_seqlens[s + 1], n, counter, out);
      const int time = static_cast<int>(static_cast<float>(grid.t - 1) * grid.time_step);
      counter += std::max({grid.h, grid.w, time + 1});
    }
    out.next.push_back(counter);
  }
  if (image != batch.grids.size()) fail("batch: ", batch.grids.size(), " images, but placeholders for ", image);
}

/// Row and column of each patch of a grid, in the order of the patches: block by block of merge x merge.
template <class F>
void for_each_patch(const Grid& grid, int merge, F f) {
  for (int t = 0; t < grid.t; ++t)
    for (int by = 0; by < grid.h; by += merge)
      for (int bx = 0; bx < grid.w; bx += merge)
        for (int y = 0; y < merge; ++y)
          for (int x = 0; x < merge; ++x) f(by + y, bx + x);
}

namespace detail {
template <class M>
struct HasWindow {
  static constexpr bool value = requires { M::window_cells; };
};

/// In place of a decoder's attention if it has none: nothing is rotated.
struct NoRotation {
  struct HeadsOf {
    static constexpr int head_dim = 0;
  };
  struct Rope {
    static constexpr int theta = 1;
  };
};

/// torch.linspace(0, last, steps)[i] in fp32, which counts from the nearer end.
inline float linspace(float last, int steps, int i) {
  if (steps == 1) return 0;
  const float step = last / static_cast<float>(steps - 1);
  return i < steps / 2 ? step * static_cast<float>(i) : last - step * static_cast<float>(steps - 1 - i);
}
}  // namespace detail

/// The tables that layers of these types read: attention of text and of images, the table of learned positions, windows
/// (void for those that a model does not have).
template <class TextCore_, class VisionCore_, class PositionTable, class Window, int merge, int tokens_per_frame,
          int patch_width>
class BatchTables {
 public:
  using TextCore = std::conditional_t<std::is_void_v<TextCore_>, detail::NoRotation, TextCore_>;
  using VisionCore = VisionCore_;
  static constexpr VisualTokens visual_tokens{merge, tokens_per_frame};

  /// Reads a batch; the result points into it and into this object.
  template <class T>
  Input<T> build(const Batch& batch, VisionTokens vision_tokens) {
    if (std::is_void_v<VisionCore> && !batch.grids.empty()) fail("batch: holds images, and the model reads none");
    find_positions(batch, visual_tokens, vision_tokens, positions_);
    ids_.assign(batch.ids.begin(), batch.ids.end());
    for (int row : positions_.visual_rows) ids_[static_cast<std::size_t>(row)] = -1;
    cu_seqlens_ = batch.cu_seqlens;
    Input<T> in = text_input<T>();
    in.text.sequences = static_cast<int>(cu_seqlens_.size()) - 1;
    in.text.longest = longest(cu_seqlens_);
    expect_patches(batch, patch_width);
    if constexpr (!std::is_void_v<VisionCore>)
      if (!batch.grids.empty()) add_vision(batch.grids, in);
    if constexpr (std::is_same_v<T, float>) in.patches.data = batch.patches.data();
    return in;
  }
  /// The tables of images alone.
  template <class T>
  Input<T> build_images(const std::vector<Grid>& grids) {
    Input<T> in;
    if constexpr (!std::is_void_v<VisionCore>) add_vision(grids, in);
    return in;
  }
  /// (positions, head_dim): cos, then sin, of a text token at each of the first positions, the same on all axes.
  std::vector<float> rotary_rows(int positions) {
    constexpr int half = TextCore::HeadsOf::head_dim / 2;
    turns_.reach(positions);
    std::vector<float> rows;
    rows.reserve(static_cast<std::size_t>(positions) * 2 * half);
    for (int n = 0; n < positions; ++n) {
      rows.insert(rows.end(), turns_.cos(n), turns_.cos(n) + half);
      rows.insert(rows.end(), turns_.sin(n), turns_.sin(n) + half);
    }
    return rows;
  }
  const Positions& positions() const { return positions_; }

 private:
  /// cos_ and sin_ of every token.
  void turn_tokens() {
    constexpr int half = TextCore::HeadsOf::head_dim / 2;
    cos_.resize(ids_.size() * half);
    sin_.resize(cos_.size());
    int last = 0;
    for (const auto& position : positions_.of_token) last = std::max({last, position[0], position[1], position[2]});
    turns_.reach(last + 1);
    parallel_for(std::ssize(ids_), [this](std::int64_t n) {
      const auto row = static_cast<std::size_t>(n);
      fill_mrope<typename TextCore::Rope>(turns_, positions_.of_token[row].data(), 2 * half, &cos_[row * half],
                                          &sin_[row * half]);
    });
  }
  template <class T>
  Input<T> text_input() {
    constexpr int half = TextCore::HeadsOf::head_dim / 2;
    const int tokens = static_cast<int>(ids_.size());
    if constexpr (half > 0) turn_tokens();
    Input<T> in;
    in.ids = ids_.data();
    in.tokens = tokens;
    in.visual_rows = positions_.visual_rows.data();
    in.text.rows = tokens;
    in.text.cu_seqlens = cu_seqlens_.data();
    in.text.cos = {cos_.data(), tokens, half};
    in.text.sin = {sin_.data(), tokens, half};
    return in;
  }

  template <class T>
  void add_vision(const std::vector<Grid>& grids, Input<T>& in) {
    constexpr int half = VisionCore::HeadsOf::head_dim / 2;
    cu_frames_.assign(1, 0);
    places_.clear();
    for (const Grid& grid : grids) {
      for (int t = 0; t < grid.t; ++t) cu_frames_.push_back(cu_frames_.back() + grid.h * grid.w);
      for_each_patch(grid, merge, [&](int row, int column) { places_.push_back({row, column, grid.h, grid.w}); });
    }
    const int patches = static_cast<int>(places_.size());
    order_.resize(static_cast<std::size_t>(patches));
    for (int i = 0; i < patches; ++i) order_[static_cast<std::size_t>(i)] = i;
    if constexpr (!std::is_void_v<Window>) find_windows(grids);
    vision_cos_.resize(static_cast<std::size_t>(patches) * half);
    vision_sin_.resize(vision_cos_.size());
    for (const Grid& grid : grids) vision_turns_.reach(std::max(grid.h, grid.w));
    parallel_for(patches, [this](std::int64_t row) {
      const auto i = static_cast<std::size_t>(row);
      const Place& place = places_[static_cast<std::size_t>(order_[i])];
      fill_rope2d(vision_turns_, place.row, place.column, 2 * half, &vision_cos_[i * half], &vision_sin_[i * half]);
    });
    if constexpr (!std::is_void_v<PositionTable>) find_position_rows();
    if constexpr (tokens_per_frame > 0) find_latents();

    in.patches = {nullptr, patches, patch_width};  // Staging sets where they are
    Context<T>& c = in.vision;
    c.rows = patches;
    c.cu_seqlens = cu_frames_.data();
    c.sequences = static_cast<int>(cu_frames_.size()) - 1;
    c.longest = longest(cu_frames_);
    c.cu_windows = cu_windows_.data();
    c.windows = static_cast<int>(cu_windows_.size()) - 1;
    c.longest_window = longest(cu_windows_);
    c.cos = {vision_cos_.data(), patches, half};
    c.sin = {vision_sin_.data(), patches, half};
    c.position_rows = position_rows_.data();
    c.position_weights = position_weights_.data();
    c.order = order_.data();
    c.merged_order = merged_order_.data();
    c.latent_rows = latent_rows_.data();
    c.cu_latents = cu_latents_.data();
  }

  static int longest(const std::vector<int>& cu) {
    int most = 0;
    for (std::size_t i = 0; i + 1 < cu.size(); ++i) most = std::max(most, cu[i + 1] - cu[i]);
    return most;
  }

  /// Rows of each frame's own.
  void find_latents() {
    latent_rows_.clear(), cu_latents_.assign(1, 0);
    for (std::size_t frame = 1; frame < cu_frames_.size(); ++frame) {
      for (int i = 0; i < tokens_per_frame; ++i) latent_rows_.push_back(i);
      cu_latents_.push_back(static_cast<int>(latent_rows_.size()));
    }
  }

  /// Four taps a patch in the table of positions, align-corners: the table's corners are the image's corners.
  void find_position_rows() {
    constexpr int side = [] {
      int s = 1;
      while (s * s < PositionTable::table_rows) ++s;
      return s;
    }();
    static_assert(side * side == PositionTable::table_rows, "LearnedPosition: the table must be square");
    position_rows_.clear();
    position_weights_.clear();
    for (const Place& place : places_) {
      const float y = detail::linspace(side - 1, place.rows, place.row),
                  x = detail::linspace(side - 1, place.columns, place.column);
      const int y0 = static_cast<int>(y), x0 = static_cast<int>(x), y1 = std::min(y0 + 1, side - 1),
                x1 = std::min(x0 + 1, side - 1);
      const float dy = y - static_cast<float>(y0), dx = x - static_cast<float>(x0);
      position_rows_.insert(position_rows_.end(), {y0 * side + x0, y0 * side + x1, y1 * side + x0, y1 * side + x1});
      position_weights_.insert(position_weights_.end(), {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx});
    }
  }

  /// Merged cells window by window from the top left; windows at the right and bottom edge may be smaller.
  void find_windows(const std::vector<Grid>& grids) {
    constexpr int cells = Window::window_cells;
    merged_order_.clear();
    cu_windows_.assign(1, 0);
    int first = 0;
    for (const Grid& grid : grids) {
      const int h = grid.h / merge, w = grid.w / merge;
      for (int t = 0; t < grid.t; ++t, first += h * w)
        for (int wy = 0; wy < h; wy += cells)
          for (int wx = 0; wx < w; wx += cells) {
            for (int y = wy; y < std::min(wy + cells, h); ++y)
              for (int x = wx; x < std::min(wx + cells, w); ++x) merged_order_.push_back(first + y * w + x);
            cu_windows_.push_back(static_cast<int>(merged_order_.size()) * merge * merge);
          }
    }
    for (std::size_t i = 0; i < order_.size(); ++i)
      order_[i] = merged_order_[i / (merge * merge)] * merge * merge + static_cast<int>(i % (merge * merge));
  }

  struct Place {
    int row, column, rows, columns;
  };
  Positions positions_;
  Turns turns_{static_cast<double>(TextCore::Rope::theta), TextCore::HeadsOf::head_dim};
  Turns vision_turns_{static_cast<double>(RoPE2D::theta), [] {
                        if constexpr (std::is_void_v<VisionCore>)
                          return 0;
                        else
                          return VisionCore::HeadsOf::head_dim / 2;
                      }()};
  std::vector<int> ids_, cu_seqlens_, cu_frames_, cu_windows_, position_rows_, order_, merged_order_, latent_rows_,
      cu_latents_;
  std::vector<float> cos_, sin_, vision_cos_, vision_sin_, position_weights_;
  std::vector<Place> places_;
};

/// Those of one model, which it shares with its adapted and frozen forms.
template <class Model>
using Tables =
    BatchTables<find_t<typename Model::Language, detail::HasHeads>, find_t<typename Model::Visual, detail::HasHeads>,
                find_t<typename Model::Visual, detail::HasTable>, find_t<typename Model::Visual, detail::HasWindow>,
                Model::visual_tokens.merge, Model::visual_tokens.per_frame, Model::patch_width>;

}  // namespace lamina
