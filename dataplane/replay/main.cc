// viaduct-replay: runs a capture through the unmodified dataplane, one frame at a time, with the capture's
// clock and a fixed seed, so that what comes out is the same byte for byte, run after run. Wires stand in for
// the configuration's ports.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include <json/json.h>
#include <rte_eal.h>

#include "viaduct/capture.h"
#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/log.h"

#include "api/flow_json.h"
#include "api/state_json.h"
#include "dataplane.h"
#include "flow/flow_memory.h"
#include "port/wire.h"

namespace {

using namespace viaduct;
using namespace viaduct::dataplane;

constexpr const char* kUsage =
    "viaduct-replay: runs a capture through the dataplane and writes what comes out\n"
    "\n"
    "Usage: viaduct replay --config FILE --in CAPTURE --out CAPTURE [--port PORT]\n"
    "\n"
    "  --config FILE   the configuration: JSON of a transaction's \"put\", as \"viaduct -j config show\" "
    "prints\n"
    "  --in CAPTURE    pcap or pcapng. In pcapng a frame enters by the port that its interface is called\n"
    "  --out CAPTURE   pcapng with one interface a port; counters go to standard output as JSON\n"
    "  --port PORT     by which frames enter where the capture does not say\n"
    "\n"
    "Example:\n"
    "  viaduct replay --config node.json --in in.pcap --port web --out out.pcap\n";

constexpr std::uint64_t kSeed = 0x7669616475637431U;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint32_t kFirstSecond = 1000;  ///< of the dataplane's clock, at the first frame
constexpr int kAgeingTicks = 10;              ///< a whole round of the FDB's ageing

struct Arguments {
    std::string config, in, out, port;
};

Arguments read_arguments(int argc, char** argv) {
    Arguments arguments;
    const std::map<std::string, std::string*> known = {{"--config", &arguments.config},
                                                       {"--in", &arguments.in},
                                                       {"--out", &arguments.out},
                                                       {"--port", &arguments.port}};
    for (int i = 1; i < argc; i += 2) {
        const auto found = known.find(argv[i]);
        if (found == known.end()) throw Refused(argv[i], "is no option; see --help");
        if (i + 1 == argc) throw Refused(argv[i], "needs a value");
        *found->second = argv[i + 1];
    }
    for (const auto& [option, value] : known) {
        if (value->empty() && option != "--port") throw Refused(option, "is needed; see --help");
    }
    return arguments;
}

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be read");
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
}

/// No huge pages, no NIC, a worker that floats over all CPUs: a replay runs beside anything else.
class ReplayEal {
public:
    ReplayEal() {
        const auto cpus = "(0-" + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN) - 1) + ")";
        std::vector<std::string> words = {"viaduct-replay",
                                          "--no-huge",
                                          "--no-shconf",
                                          "--no-pci",
                                          "--no-telemetry",
                                          "-m",
                                          "256",
                                          "--lcores",
                                          "0@" + cpus + ",1@" + cpus,
                                          "--log-level",
                                          "*:error",
                                          "--file-prefix",
                                          "viaduct-replay-" + std::to_string(::getpid())};
        std::vector<char*> pointers;
        for (auto& word : words)
            pointers.push_back(word.data());
        if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0)
            throw std::runtime_error("DPDK cannot start");
        directory_ = rte_eal_get_runtime_dir();
    }
    ~ReplayEal() {
        rte_eal_cleanup();
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    ReplayEal(const ReplayEal&) = delete;
    ReplayEal& operator=(const ReplayEal&) = delete;

private:
    std::string directory_;
};

class Replay {
public:
    explicit Replay(const std::string& config) {
        DataplaneOptions options;
        options.worker_lcores = {1};
        options.packet_buffers = 16384;
        options.fdb_seed = kSeed;
        options.clock = [this] { return seconds_.load(); };
        options.flow_memory = std::make_shared<FlowMemory>(
            FlowMemoryOptions{.entries4 = 262144, .entries6 = 65536, .seed = kSeed});
        options.make_port = [this](const model::Port& port, PortIndex index, rte_mempool* pool,
                                   PortListener& listener) {
            auto wire = std::make_unique<Wire>(index, pool, listener, WireOptions{.queues = port.queues});
            wires_[port.name] = wire.get();
            return wire;
        };
        dataplane_ = std::make_unique<Dataplane>(std::move(options));
        // The worker's timers of the first second are over before there is anything to be announced: else
        // that would be now or a second later, as the threads happen to run.
        settle();
        auto json = parse_json(config, "--config");
        if (json.isObject() && !json.isMember("put")) {
            Json::Value change(Json::objectValue);
            change["put"] = json;
            json = change;
        }
        Faults faults;
        const auto change = model::change_from_json(json, "", faults);
        if (!faults.empty()) throw Refused(std::move(faults));
        dataplane_->apply(change);
        settle();
    }

    [[nodiscard]] std::vector<std::string> ports() const {
        std::vector<std::string> names;
        for (const auto& [name, wire] : wires_)
            names.push_back(name);
        return names;
    }

    /// Frames that came out meanwhile carry the time of the one that went in.
    void run(const std::vector<CapturedFrame>& frames, const std::string& port, CaptureWriter& out) {
        const auto first = frames.empty() ? 0 : frames.front().nanoseconds;
        for (std::size_t number = 0; number < frames.size(); ++number) {
            const auto& frame = frames[number];
            const auto wire = wires_.find(frame.interface.empty() ? port : frame.interface);
            if (wire == wires_.end()) {
                throw std::runtime_error("frame " + std::to_string(number + 1) + " came by \"" +
                                         frame.interface + "\", which is no port; --port names one");
            }
            const auto since = frame.nanoseconds > first ? frame.nanoseconds - first : 0;
            advance(kFirstSecond + static_cast<std::uint32_t>(since / kSecond));
            if (!wire->second->inject(0, frame.bytes)) throw std::runtime_error("no packet buffer is left");
            settle();
            collect(frame.nanoseconds, out);
        }
    }

    [[nodiscard]] Json::Value counters() const {
        Json::Value json(Json::objectValue);
        json["ports"] = ports_json(dataplane_->ports());
        json["total"] = ledger_json(dataplane_->ledger());
        json["flows"] = flow_tables_json(dataplane_->flows());
        return json;
    }

private:
    /// Moves the clock, and has everything that ages by it aged before the next frame: a worker's own sweeps
    /// come when it has the time.
    void advance(std::uint32_t second) {
        if (second <= seconds_.load()) return;
        seconds_ = second;
        for (int tick = 0; tick < kAgeingTicks; ++tick)
            dataplane_->tick();
        const auto timeouts = dataplane_->config().timeouts;
        const auto tables = dataplane_->flows();
        tables.v4->expire(0, tables.v4->buckets(), second, timeouts);
        tables.v6->expire(0, tables.v6->buckets(), second, timeouts);
        settle();
    }

    /// Until nothing moves: all lines are empty, and were before every worker's last two turns.
    void settle() {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        const auto quiet = [&] {
            for (const auto& [name, wire] : wires_) {
                for (std::uint16_t queue = 0; queue < wire->active_queues(); ++queue) {
                    if (wire->waiting_in(queue) != 0) return false;
                }
            }
            return true;
        };
        for (bool before = false;;) {
            dataplane_->tick();
            const auto turns = dataplane_->workers().front().turns;
            while (dataplane_->workers().front().turns < turns + 2) {
                if (std::chrono::steady_clock::now() > deadline)
                    throw std::runtime_error("the dataplane does not come to rest");
                std::this_thread::yield();
            }
            const bool now = quiet();
            if (before && now) return;
            before = now;
        }
    }

    void collect(std::uint64_t nanoseconds, CaptureWriter& out) {
        std::uint32_t place = 0;
        for (const auto& [name, wire] : wires_) {
            for (std::uint16_t queue = 0; queue < wire->active_queues(); ++queue) {
                for (const auto& frame : wire->collect_bytes(queue))
                    out.add(place, nanoseconds, frame);
            }
            ++place;
        }
    }

    std::atomic<std::uint32_t> seconds_{kFirstSecond};
    std::map<std::string, Wire*> wires_;
    std::unique_ptr<Dataplane> dataplane_;
};

void run(const Arguments& arguments) {
    const auto frames = read_capture(contents(arguments.in));
    const ReplayEal eal;
    Replay replay(contents(arguments.config));
    CaptureWriter out(replay.ports());
    replay.run(frames, arguments.port, out);
    std::ofstream file(arguments.out, std::ios::binary | std::ios::trunc);
    file << out.file();
    file.close();
    if (!file) throw std::runtime_error(arguments.out + " cannot be written");
    std::cout << to_json_text(replay.counters(), true) << "\n";
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 1 || std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h") {
        std::cout << kUsage;
        return argc == 1 ? 2 : 0;
    }
    try {
        log::start("viaduct-replay", "warning");
        run(read_arguments(argc, argv));
        return 0;
    } catch (const Refused& refused) {
        std::cerr << "viaduct-replay: " << refused.what() << "\n";
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "viaduct-replay: " << error.what() << "\n";
        return 1;
    }
}
