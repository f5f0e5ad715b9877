#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <openssl/evp.h>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/engine/request/request.hpp>

/// What identifies the images of a prompt, for caches that requests share.
namespace lamina::engine {

/// SHA-256 over everything that decides an image's embeddings: its pixels, its shape and how it was processed. Each
/// value that is added has a size that those before it determine, so that two different images are never one text.
class ImageHasher {
 public:
  ImageHasher() : context_(EVP_MD_CTX_new()) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) fail("SHA-256 is not available");
  }
  template <class T>
  requires std::is_arithmetic_v<T> ImageHasher& add(T value) { return add(std::span<const T>(&value, 1)); }
  template <class T>
  requires std::is_arithmetic_v<T> ImageHasher& add(std::span<const T> values) {
    if (EVP_DigestUpdate(context_.get(), values.data(), values.size_bytes()) != 1) fail("SHA-256 failed");
    return *this;
  }
  ImageHash finish() {
    ImageHash hash;
    if (EVP_DigestFinal_ex(context_.get(), hash.data(), nullptr) != 1) fail("SHA-256 failed");
    return hash;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

/// What identifies an image's rows if an adapter changes them.
inline ImageHash with_adapter(const ImageHash& hash, AdapterId adapter) {
  return ImageHasher().add(std::span<const unsigned char>(hash)).add(adapter).finish();
}

/// The hash of what the model reads of an image or of a run of a video: its patches and their grid.
inline ImageHash hash_patches(const Grid& grid, std::span<const float> patches) {
  return ImageHasher().add(grid.t).add(grid.h).add(grid.w).add(grid.time_step).add(patches).finish();
}

/// The hashes of a batch's images, by their patches and grids, which are what the model reads.
/// row_length: values of a patch.
inline std::vector<ImageHash> hash_images(const Batch& batch, int row_length) {
  std::vector<ImageHash> hashes;
  std::span<const float> left(batch.patches);
  for (const Grid& grid : batch.grids) {
    const auto values = static_cast<std::size_t>(grid.patches()) * static_cast<std::size_t>(row_length);
    hashes.push_back(
        ImageHasher().add(grid.t).add(grid.h).add(grid.w).add(grid.time_step).add(left.first(values)).finish());
    left = left.subspan(values);
  }
  return hashes;
}

/// Where a prompt shows its images: the n-th run of placeholders is as long as the n-th image has tokens.
/// errors  lamina::Error if the placeholders do not match the images.
inline std::vector<ImageSpan> place_images(const Batch& prompt, const std::vector<ImageHash>& hashes,
                                           VisionTokens vision_tokens, VisualTokens visual_tokens) {
  std::vector<ImageSpan> spans;
  std::size_t at = 0;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    while (at < prompt.ids.size() && !vision_tokens(prompt.ids[at])) ++at;
    const ImageSpan span = span_of(hashes[i], static_cast<int>(at), prompt.grids[i], visual_tokens);
    if (prompt.ids.size() - at < static_cast<std::size_t>(span.tokens))
      fail("the prompt has fewer placeholders than images");
    spans.push_back(span);
    at += static_cast<std::size_t>(span.tokens);
  }
  return spans;
}

}  // namespace lamina::engine
