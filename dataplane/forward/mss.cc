#include "forward/mss.h"

#include <algorithm>

#include "forward/checksum.h"

namespace viaduct::dataplane {

namespace {

constexpr std::uint32_t kHeader = 20;
constexpr std::uint32_t kChecksum = 16;

void replace(std::uint8_t* tcp, std::uint32_t at, std::uint16_t most, bool whole_checksum) {
    const auto offered = load16(tcp + at);
    if (__builtin_bswap16(offered) <= most) return;
    const auto lowered = __builtin_bswap16(most);
    store16(tcp + at, lowered);
    if (!whole_checksum) return;
    auto difference = checksum_difference(offered, lowered);
    // Options begin at any byte; at an odd one their words lie across the words that are summed.
    if (at % 2 != 0) difference = __builtin_bswap16(difference);
    store16(tcp + kChecksum, adjusted_checksum(load16(tcp + kChecksum), difference));
}

}  // namespace

void clamp_mss(std::uint8_t* tcp, std::uint32_t here, std::uint16_t most, bool whole_checksum) {
    const auto end = std::min<std::uint32_t>(here, (tcp[12] >> 4) * 4U);
    for (std::uint32_t at = kHeader; at < end;) {
        const auto kind = tcp[at];
        if (kind == 0) return;
        if (kind == 1) {
            ++at;
            continue;
        }
        if (at + 1 >= end || tcp[at + 1] < 2) return;
        if (kind == 2 && tcp[at + 1] == 4 && at + 3 < end) return replace(tcp, at + 2, most, whole_checksum);
        at += tcp[at + 1];
    }
}

}  // namespace viaduct::dataplane
