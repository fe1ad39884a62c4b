// The loop: sends flows from port 0, reflects them at port 1, counts what returns. One thread, no allocation.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "flows.h"
#include "frame.h"
#include "latency.h"
#include "options.h"
#include "sightings.h"

struct rte_mbuf;
struct rte_mempool;

namespace viaduct::pktgen {

/// Frames, unless said otherwise.
struct Counts {
    std::uint64_t sent = 0;         ///< by port 0
    std::uint64_t reached_far = 0;  ///< heard by port 1
    std::uint64_t returned = 0;     ///< heard by port 0
    std::uint64_t far_dropped = 0;  ///< heard by port 1, whose queue had no room to send them back
    std::uint64_t foreign = 0;      ///< heard by either, and none of ours
    std::uint64_t moved = 0;        ///< heard by port 1 with other addresses than before of the same flow
    std::uint64_t flood_sent = 0;   ///< not in `sent`
    std::uint64_t flood_reached = 0;
    std::uint64_t stalls = 0;       ///< times that the window stayed full for 20 ms and was given up for lost
    std::uint64_t idle_cycles = 0;  ///< of turns that moved nothing
};

/// A frame as port 1 heard it first, so that who measures can tell that the device did its work.
struct Sample {
    bool taken = false;
    bool tunnelled = false;
    Frame frame;  ///< without the tunnel's headers
};

struct Measurement {
    std::uint32_t flows = 0;
    double seconds = 0;
    Counts counts;                    ///< until the last frame was waited for
    std::uint64_t carried = 0;        ///< reached_far + returned within `seconds`
    std::uint64_t idle_cycles = 0;    ///< within `seconds`
    double on_cpu = 0;                ///< share of `seconds` in which the kernel let this thread run
    std::vector<double> second_mpps;  ///< both ways added, of each whole second
    Sample sample;
    Latency latency;  ///< there and back, one frame of each burst

    SeenFlows seen;

    bool one_way = false;

    std::uint64_t lost() const { return counts.sent - (one_way ? counts.reached_far : counts.returned); }
    double mpps() const { return static_cast<double>(carried) / seconds / 1e6; }
};

class Traffic {
public:
    /// `stopped` may be set by a signal: every wait ends then.
    Traffic(const Options& options, rte_mempool* frames, const std::atomic<bool>& stopped);
    ~Traffic();
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    /// Makes both MACs heard and returns when a frame has come back. Throws std::runtime_error with how far
    /// frames got when none has within --patience.
    void learn(const Flows& flows);

    /// Warm-up, measurement, and the wait for what is still on its way.
    /// With `flood`, --flood's flows beside it, until all of these are sent.
    Measurement measure(Flows& flows, bool flood);

private:
    static constexpr std::uint16_t kBurstMost = 64;

    bool reflect_far(std::uint64_t now);
    bool hear_near(std::uint64_t now);
    bool hear_far(rte_mbuf* heard, std::uint64_t now);
    bool send(Flows& flows, std::uint64_t now);
    bool send_flood(const Flows& flows, std::uint64_t now);
    void acknowledge(std::uint32_t sequence);
    void keep(rte_mbuf* frame);
    std::span<rte_mbuf*> take(std::uint16_t count);
    std::uint16_t transmit(std::span<rte_mbuf*> frames);
    void answer_foreign(std::uint16_t port, rte_mbuf* frame);
    void announce(std::uint16_t port, const rte_ether_addr& mac, std::uint32_t address);
    void probe(const Flows& flows);
    /// One turn of the loop: hears, and sends of `flows` unless it is null. Returns the time at its end.
    std::uint64_t turn(Flows* flows, std::uint64_t now);
    bool ended(const Flows& flows, std::uint64_t now, std::uint64_t end) const;
    std::uint64_t arrived() const { return options_.one_way ? counts_.reached_far : counts_.returned; }
    void warm_up(Flows& flows);
    void drain();
    void forget();
    std::uint32_t room(const Flows& flows) const;

    const Options& options_;
    rte_mempool* const frames_;
    const std::atomic<bool>& stopped_;
    Counts counts_;
    Latency* latency_ = nullptr;
    Sample sample_;
    std::uint32_t next_ = 0;          ///< sequence number of the next frame
    std::uint32_t first_ = 0;         ///< of this measurement
    std::uint32_t acknowledged_ = 0;  ///< all before this one came back or are lost
    std::uint64_t first_round_ = 0;   ///< frames sent of the warm-up's round of all flows
    std::uint64_t flood_start_ = 0;   ///< TSC; 0: no flood
    Sightings sightings_;
    std::uint64_t last_heard_ = 0;               ///< TSC
    std::array<rte_mbuf*, kBurstMost> stock_{};  ///< frames that came back, to be sent again
    std::uint16_t stocked_ = 0;
};

}  // namespace viaduct::pktgen
