// Memory that is free goes back to the kernel when much text was handled, and not for every small thing.
#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "viaduct/free_memory.h"

namespace viaduct {
namespace {

constexpr std::size_t kBlocks = 500'000;
using Block = std::array<char, 100>;

std::size_t resident_bytes() {
    std::size_t total = 0;
    std::size_t resident = 0;
    std::ifstream("/proc/self/statm") >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Frees many small blocks and keeps the last one, which lies above them: nothing goes back by itself.
std::unique_ptr<Block> free_below() {
    std::vector<std::unique_ptr<Block>> blocks(kBlocks);
    for (auto& block : blocks)
        block = std::make_unique<Block>();
    return std::move(blocks.back());
}

TEST(FreeMemory, GoesBackAfterMuchText) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer has its own allocator";
#endif
    const auto kept = free_below();
    const auto before = resident_bytes();
    return_free_memory(kMuchText - 1);
    EXPECT_GT(resident_bytes() + kBlocks * sizeof(Block) / 4, before);
    {
        MomentaryText text;
        text.bytes = kMuchText;
    }
    EXPECT_LT(resident_bytes() + kBlocks * sizeof(Block) / 2, before);
    EXPECT_NE(kept, nullptr);
}

}  // namespace
}  // namespace viaduct
