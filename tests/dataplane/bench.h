// A dataplane with wires for ports, in this process: tests inject frames, the real worker loop moves them,
// and tests collect what comes out. The clock is the test's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "dataplane.h"
#include "port/wire.h"

namespace viaduct::test {

using Bytes = std::vector<std::uint8_t>;

/// Initialises EAL for the process, once: no huge pages, no PCI, four lcores floating over all CPUs.
void start_eal();

struct BenchOptions {
    unsigned workers = 1;
    std::uint32_t packet_buffers = 8192;
    dataplane::PollMode poll = dataplane::PollMode::adaptive;
    std::uint32_t flows = 0;  ///< directions of IPv4 flows that the table has room for; 0: a small one
};

class Bench {
public:
    explicit Bench(BenchOptions options = {});
    ~Bench();  ///< fails the test when the ledger does not add up

    void apply(const model::Change& change, bool dry_run = false) { dataplane_->apply(change, dry_run); }
    /// Puts bridges and ports from JSON text in the form of a transaction; ports are wires whatever their
    /// kind says, with what an uplink may have round it.
    void apply_json(const std::string& text);
    /// The faults of such a transaction that must be refused.
    Faults refused_json(const std::string& text);

    dataplane::Wire& wire(const std::string& port);
    void inject(const std::string& port, const Bytes& frame, std::uint16_t queue = 0);
    /// Waits until nothing moves any more: all lines empty and the ledger at rest.
    void settle();
    /// What came out of a port on all its queues since the last time.
    std::vector<Bytes> collect(const std::string& port);
    void advance_clock(std::uint32_t seconds);
    dataplane::Dataplane& dataplane() { return *dataplane_; }
    dataplane::PortState state(const std::string& port);
    [[nodiscard]] std::uint64_t drops(const std::string& port, dataplane::Drop why);

private:
    std::atomic<std::uint32_t> seconds_{1000};
    std::mutex mutex_;
    std::map<std::string, dataplane::Wire*> wires_;
    std::unique_ptr<dataplane::Dataplane> dataplane_;
};

/// An Ethernet frame of `size` bytes (14 or more): addresses, optionally tags, an ethertype and a counting
/// payload.
struct FrameSpec {
    std::string destination = "02:00:00:00:00:02";
    std::string source = "02:00:00:00:00:01";
    std::vector<std::uint16_t> vlans;  ///< outermost first, as tag control information
    std::uint16_t ethertype = 0x0800;
    std::size_t size = 60;  ///< of the whole frame
};
Bytes frame(const FrameSpec& spec);

}  // namespace viaduct::test
