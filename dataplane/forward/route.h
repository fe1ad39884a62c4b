// Bursts through a router: packets of flows that are known leave as their records say, the rest goes to
// resolve.
//
// Theory of operation: three passes over at most kBurst packets. The first (start) reads headers, makes keys
// and hashes and starts the loads of buckets; the second (find) looks for each packet's likely entry by
// signature and starts the loads of record and tail; the third (carry_out) reads the record, does what it
// says and stages the frame. Among a million flows nearly every load comes from memory, and a burst's are
// more than a core can wait for at once: so the passes of two bursts alternate, and the last burst's third
// pass comes after what is staged has been sent.
#pragma once

#include <array>
#include <cstdint>

#include "forward/first_packets.h"
#include "forward/parse.h"

namespace viaduct::dataplane {

class Forwarder;

/// Frames of one family that bridges delivered to router interfaces, none of them shared: a burst that is
/// being collected and one that is under way. Worker's own.
template <typename Key>
class RoutedBursts {
public:
    /// Takes the frame over; its ethertype is Key's family's.
    void collect(Forwarder& forwarder, const RoutedFrame& routed) {
        auto& burst = bursts_[collecting_];
        burst.frames[burst.count++] = routed;
        if (burst.count == kBurst) [[unlikely]]
            advance(forwarder);
    }
    /// The collected burst gets under way, and the one before it is carried out.
    void advance(Forwarder& forwarder);
    [[nodiscard]] bool collected() const { return bursts_[collecting_].count != 0; }
    [[nodiscard]] bool under_way() const { return bursts_[collecting_ ^ 1U].count != 0; }
    /// The second pass over the burst under way, and the third.
    void find(Forwarder& forwarder);
    void carry_out(Forwarder& forwarder);

private:
    struct Burst {
        std::uint16_t count = 0;  ///< of frames
        std::uint16_t parsed_count = 0;
        std::uint16_t aside_count = 0;
        std::array<Parsed<Key>, kBurst> parsed;
        std::array<RoutedFrame, kBurst> frames;
        /// What a pass does not like: places in `frames`. Goes to resolve as one burst in the end.
        std::array<std::uint16_t, kBurst> aside;

        void put_aside(const RoutedFrame& routed) {
            aside[aside_count++] = static_cast<std::uint16_t>(&routed - frames.data());
        }
    };

    static void start(Forwarder& forwarder, Burst& burst);
    static void resolve_aside(Forwarder& forwarder, Burst& burst);

    std::array<Burst, 2> bursts_;
    std::uint32_t collecting_ = 0;
};

extern template class RoutedBursts<FlowKey4>;
extern template class RoutedBursts<FlowKey6>;

}  // namespace viaduct::dataplane
