// Clamping the maximum segment size that a TCP SYN offers (RFC 9293 3.7.1) to what the way carries, for hosts
// that path MTU discovery does not reach.
#pragma once

#include <cstdint>

namespace viaduct::dataplane {

/// Lowers the offer to `most`. `tcp`: the header, of which `here` bytes (20 or more) may be touched;
/// `whole_checksum`: it covers the segment, as it does unless a guest left that to the hardware.
void clamp_mss(std::uint8_t* tcp, std::uint32_t here, std::uint16_t most, bool whole_checksum);

}  // namespace viaduct::dataplane
