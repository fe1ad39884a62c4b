// The bench behind the packets-in, packets-out tests.
#include "bench.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>
#include <json/json.h>
#include <rte_eal.h>

#include "viaduct/json.h"

#include "flow/flow_memory.h"
#include "port/gro_port.h"
#include "port/mac_filter_port.h"
#include "traced_pool.h"

namespace viaduct::test {

using namespace dataplane;

void start_eal() {
    static const bool started = [] {
        const auto cpus = "(0-" + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN) - 1) + ")";
        const auto lcores = "0@" + cpus + ",1@" + cpus + ",2@" + cpus + ",3@" + cpus;
        const auto prefix = "viaduct-test-" + std::to_string(::getpid());
        std::vector<std::string> words = {
            "test",           "--no-huge",   "--no-shconf", "--no-pci",      "-m",  "256", "--lcores", lcores,
            "--no-telemetry", "--log-level", "*:error",     "--file-prefix", prefix};
        std::vector<char*> argv;
        for (auto& word : words)
            argv.push_back(word.data());
        if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
            throw std::runtime_error("EAL does not start");
        use_traced_pools();
        static const std::string runtime = rte_eal_get_runtime_dir();
        std::atexit([] { std::filesystem::remove_all(runtime); });
        return true;
    }();
    (void)started;
}

Bench::Bench(BenchOptions options) {
    start_eal();
    DataplaneOptions real;
    for (unsigned i = 1; i <= options.workers; ++i)
        real.worker_lcores.push_back(i);
    real.packet_buffers = options.packet_buffers;
    real.poll = options.poll;
    real.clock = [this] { return seconds_.load(); };
    real.fdb_seed = 42;
    if (options.flows != 0) {
        real.flow_memory = std::make_shared<FlowMemory>(
            FlowMemoryOptions{.entries4 = options.flows, .entries6 = 1024, .seed = 42});
    }
    real.make_port = [this](const model::Port& port, PortIndex index, rte_mempool* pool,
                            PortListener& listener) -> std::unique_ptr<Port> {
        auto wire = std::make_unique<Wire>(index, pool, listener, WireOptions{.queues = port.queues});
        const std::scoped_lock lock(mutex_);
        wires_[port.name] = wire.get();
        if (!port.uplink.promiscuous) return std::make_unique<MacFilterPort>(std::move(wire));
        if (port.uplink.gro) return std::make_unique<GroPort>(std::move(wire));
        return wire;
    };
    dataplane_ = std::make_unique<Dataplane>(std::move(real));
    // Every worker has seen to the timers of this second before there is an interface: what one says of
    // itself when it comes up is said when the test moves the clock, not whenever a thread happened to start.
    settle();
}

Bench::~Bench() {
    settle();
    const auto ledger = dataplane_->ledger();
    EXPECT_TRUE(ledger.balanced()) << "rx " << ledger.total.rx_packets << " + copies " << ledger.total.copies
                                   << " + originated " << ledger.total.originated << " != tx "
                                   << ledger.total.tx_packets << " + dropped " << ledger.total.dropped()
                                   << " + consumed " << ledger.total.consumed << " + held " << ledger.held;
}

void Bench::apply_json(const std::string& text) {
    Faults faults;
    const auto change = model::change_from_json(parse_json(text, "test"), "", faults);
    if (!faults.empty()) throw Refused(faults);
    dataplane_->apply(change);
    dataplane_->tick();
}

Faults Bench::refused_json(const std::string& text) {
    try {
        apply_json(text);
    } catch (const Refused& refused) {
        return refused.faults();
    }
    ADD_FAILURE() << "was accepted: " << text;
    return {};
}

Wire& Bench::wire(const std::string& port) {
    const std::scoped_lock lock(mutex_);
    return *wires_.at(port);
}

void Bench::inject(const std::string& port, const Bytes& bytes, std::uint16_t queue) {
    ASSERT_TRUE(wire(port).inject(queue, bytes)) << "no room on " << port;
}

void Bench::settle() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto quiet = [&] {
        for (const auto& state : dataplane_->ports()) {
            for (const auto& queue : state.queues) {
                if (this->wire(state.port.name).waiting_in(queue.queue) != 0) return false;
            }
        }
        // What waits for a neighbour's answer may wait as long as the test's clock stands still.
        const auto ledger = dataplane_->ledger();
        return ledger.held == ledger.waiting;
    };
    // Quiet, and quiet again after every worker has made two whole turns, in which it would have moved what
    // it held.
    for (;;) {
        dataplane_->tick();
        const bool before = quiet();
        std::vector<std::uint64_t> turns;
        for (const auto& worker : dataplane_->workers())
            turns.push_back(worker.turns);
        for (std::size_t i = 0; i < turns.size();) {
            if (dataplane_->workers()[i].turns >= turns[i] + 2) {
                ++i;
                continue;
            }
            if (std::chrono::steady_clock::now() > deadline)
                throw std::runtime_error("the dataplane does not come to rest");
            dataplane_->wake_workers();
            // Asleep and not yielding: on a machine full of others the worker has its turn sooner.
            std::this_thread::sleep_for(std::chrono::microseconds(20));
        }
        if (before && quiet()) return;
    }
}

std::vector<Bytes> Bench::collect(const std::string& port) {
    settle();
    std::vector<Bytes> all;
    for (const auto& queue : state(port).queues) {
        for (auto& bytes : wire(port).collect_bytes(queue.queue))
            all.push_back(std::move(bytes));
    }
    return all;
}

void Bench::advance_clock(std::uint32_t seconds) {
    settle();
    seconds_ += seconds;
    // A whole round of the ageing scan of FDBs, and each worker's of flows.
    for (int i = 0; i < 10; ++i)
        dataplane_->tick();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (const auto& behind = [this](const auto& worker) { return worker.swept < seconds_.load(); };;) {
        const auto workers = dataplane_->workers();
        if (std::none_of(workers.begin(), workers.end(), behind)) break;
        if (std::chrono::steady_clock::now() > deadline)
            throw std::runtime_error("the workers do not look for flows that have timed out");
        dataplane_->wake_workers();
        std::this_thread::yield();
    }
}

PortState Bench::state(const std::string& port) {
    for (auto& state : dataplane_->ports()) {
        if (state.port.name == port) return state;
    }
    throw std::runtime_error("no port " + port);
}

std::uint64_t Bench::drops(const std::string& port, Drop why) {
    settle();
    return state(port).totals.drops[static_cast<std::size_t>(why)];
}

Bytes frame(const FrameSpec& spec) {
    Bytes bytes;
    for (const auto& text : {spec.destination, spec.source}) {
        const auto mac = MacAddress::parse(text).value();
        bytes.insert(bytes.end(), mac.bytes.begin(), mac.bytes.end());
    }
    const auto put16 = [&](std::uint16_t value) {
        bytes.push_back(static_cast<std::uint8_t>(value >> 8));
        bytes.push_back(static_cast<std::uint8_t>(value));
    };
    for (auto vlan : spec.vlans) {
        put16(0x8100);
        put16(vlan);
    }
    put16(spec.ethertype);
    while (bytes.size() < spec.size)
        bytes.push_back(static_cast<std::uint8_t>(bytes.size()));
    return bytes;
}

}  // namespace viaduct::test
