// Memory that was needed for a moment only goes back to the kernel. A transaction of a hundred thousand
// endpoints passes through a text and a tree of JSON many times its own size; the allocator would keep that
// for good.
#pragma once

#include <cstddef>

namespace viaduct {

/// Less than this is not worth the while: bytes of text that came or went.
inline constexpr std::size_t kMuchText = 1U << 20U;

/// Returns what is free to the kernel, after work on `text_bytes` of text is done and its memory freed; does
/// nothing below kMuchText. Any thread but the workers'; some ten milliseconds for a hundred megabytes,
/// during which other threads that allocate may wait.
void return_free_memory(std::size_t text_bytes);

/// Does so at the end of a scope: declared before the text and what is made of it, it ends after them.
struct MomentaryText {
    std::size_t bytes = 0;

    MomentaryText() = default;
    MomentaryText(const MomentaryText&) = delete;
    MomentaryText& operator=(const MomentaryText&) = delete;
    ~MomentaryText() { return_free_memory(bytes); }
};

}  // namespace viaduct
