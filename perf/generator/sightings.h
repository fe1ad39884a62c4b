// What is seen of single flows: as whom and where port 1 hears each, when an address that is watched hears
// nothing, and how much of what goes to each destination comes back in each slice of time. Costs nothing
// unless asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "frame.h"
#include "options.h"

namespace viaduct::pktgen {

/// Seconds of CLOCK_MONOTONIC, as other processes read it too.
struct Silence {
    double begin;  ///< when the address was heard last
    double end;    ///< when it was heard again; 0: not until the end
};

/// Of one measurement.
struct SeenFlows {
    std::vector<Silence> silences;  ///< of --watch-destination, each longer than kSilenceSeconds
    double slices_begin = 0;        ///< CLOCK_MONOTONIC
    std::vector<std::vector<std::uint32_t>> slices;  ///< frames that came back, by destination
};

class Sightings {
public:
    static constexpr double kSilenceSeconds = 0.1;

    explicit Sightings(const Options& options);

    /// A measurement of so many flows begins at `now` (TSC). Of as many as before it is the same flows.
    void begin(std::uint32_t flows, std::uint64_t now);
    /// A frame at port 1, of the flood too. True: its flow was heard otherwise before.
    bool heard_far(const Frame& frame, std::uint64_t now) {
        if (!watches_) return false;
        if (frame.ip.dst_addr == watched_) note_watched(now);
        return note_addresses(frame);
    }
    /// A frame that came back to port 0.
    void heard_near(const Frame& frame, std::uint64_t now) {
        if (!seen_.slices.empty()) note_slice(frame, now);
    }
    /// What was seen since begin().
    SeenFlows end(std::uint64_t now);
    /// Adds to --heard: a block of 4 bytes a flow, the address at which port 1 heard it last, in network
    /// order; 0: never. Throws std::runtime_error when it cannot be written.
    void write_heard() const;

private:
    /// As port 1 hears a flow.
    struct Addresses {
        rte_be32_t source;
        rte_be32_t destination;
        rte_be16_t source_port;
        rte_be16_t destination_port;
        bool operator==(const Addresses&) const = default;
    };

    bool note_addresses(const Frame& frame);
    void note_watched(std::uint64_t now);
    void note_slice(const Frame& frame, std::uint64_t now);
    /// Of a time since begin(). Between two readings of both clocks: DPDK's idea of the TSC's frequency is a
    /// millisecond wrong after some seconds.
    double monotonic(std::uint64_t tsc) const;

    const Options& options_;
    const bool watches_;
    const rte_be32_t watched_;          ///< 0: none
    const std::uint64_t slice_cycles_;  ///< 0: no slices
    const std::uint64_t silence_cycles_;
    std::vector<Addresses> addresses_;  ///< by flow
    std::uint64_t begin_tsc_ = 0;
    double begin_monotonic_ = 0;
    std::uint64_t watched_heard_ = 0;  ///< TSC; 0: not in this measurement
    SeenFlows seen_;
};

}  // namespace viaduct::pktgen
