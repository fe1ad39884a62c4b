// What is counted for each port, by each worker for itself. One writer a block, read relaxed by anybody, so
// counting costs an increment in the worker's own cache.
//
// The ledger, which must add up at any rest:
//   per input port    rx = forwarded + consumed + rx drops      (forwarded: handed to one or more outputs)
//   per output port   offered = tx + tx drops + held
//   over all ports    rx + copies + originated = tx + drops + consumed + held
// copies: what flooding added; originated: made by the node itself (ARP, echo replies, ICMP errors);
// consumed: taken by the node itself.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "forward/drop.h"

namespace viaduct::dataplane {

/// A counter with one writer.
class Counter {
public:
    void add(std::uint64_t n) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }
    void reset() { value_.store(0, std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// One port's counters as one worker sees them.
struct alignas(64) PortCounters {
    Counter rx_packets;
    Counter rx_bytes;
    Counter tx_packets;
    Counter tx_bytes;
    Counter copies;       ///< frames that flooding made from this port's frames, beyond the first
    Counter offered;      ///< frames chosen to leave by this port, copies included
    Counter originated;   ///< frames that the node itself made, to leave by this port
    Counter consumed;     ///< frames from this port that were for the node itself
    Counter intercepted;  ///< frames from this port for others on its bridge that went to the router: answers
    Counter not_learned;  ///< sources that found no room in the FDB or in the port's share of it
    std::array<Counter, kDropReasons> drops;

    void reset() {
        for (auto* counter : {&rx_packets, &rx_bytes, &tx_packets, &tx_bytes, &copies, &offered, &originated,
                              &consumed, &intercepted, &not_learned})
            counter->reset();
        for (auto& counter : drops)
            counter.reset();
    }
};

/// A sum over workers, and over ports that are gone.
struct PortTotals {
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t copies = 0;
    std::uint64_t offered = 0;
    std::uint64_t originated = 0;
    std::uint64_t consumed = 0;
    std::uint64_t intercepted = 0;
    std::uint64_t not_learned = 0;
    std::array<std::uint64_t, kDropReasons> drops{};

    void add(const PortCounters& c) {
        rx_packets += c.rx_packets.get();
        rx_bytes += c.rx_bytes.get();
        tx_packets += c.tx_packets.get();
        tx_bytes += c.tx_bytes.get();
        copies += c.copies.get();
        offered += c.offered.get();
        originated += c.originated.get();
        consumed += c.consumed.get();
        intercepted += c.intercepted.get();
        not_learned += c.not_learned.get();
        for (std::size_t i = 0; i < kDropReasons; ++i)
            drops[i] += c.drops[i].get();
    }
    void add(const PortTotals& t) {
        rx_packets += t.rx_packets;
        rx_bytes += t.rx_bytes;
        tx_packets += t.tx_packets;
        tx_bytes += t.tx_bytes;
        copies += t.copies;
        offered += t.offered;
        originated += t.originated;
        consumed += t.consumed;
        intercepted += t.intercepted;
        not_learned += t.not_learned;
        for (std::size_t i = 0; i < kDropReasons; ++i)
            drops[i] += t.drops[i];
    }
    [[nodiscard]] std::uint64_t dropped() const {
        std::uint64_t sum = 0;
        for (auto n : drops)
            sum += n;
        return sum;
    }
};

}  // namespace viaduct::dataplane
