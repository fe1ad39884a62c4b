// viaduct-inprocess: how throughput grows with workers. The real dataplane with one or more workers and two
// ports between which frames go round by themselves (loop_port.h), because a machine of two cores has none
// left for a generator beside two workers.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <thread>

#include <boost/program_options.hpp>
#include <json/json.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model.h"
#include "viaduct/options.h"

#include "dataplane.h"
#include "flow/flow_memory.h"
#include "loop_port.h"

namespace viaduct::inprocess {
namespace {

namespace po = boost::program_options;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    "viaduct-inprocess: measures the dataplane's workers without a generator beside them\n"
    "\n"
    "Frames of many flows go through a router from one port to another and back, for ever.\n"
    "\n"
    "Usage: viaduct-inprocess [OPTION...]\n";
constexpr const char* kExamples =
    "Examples:\n"
    "  viaduct-inprocess --cpus 0 --json one.json\n"
    "  viaduct-inprocess --cpus 0,1 --masquerade --flows 1000000\n";

constexpr std::uint16_t kFrameBytes = 60;
constexpr std::uint32_t kWindow = 512;  ///< frames that go round in each queue
constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::milliseconds kTick{100};
/// Sources of a queue's flows, and the distance between those of two queues.
constexpr std::uint32_t kSources = 1000;
constexpr std::uint32_t kSourcesApart = 1024;

struct Wanted {
    std::vector<std::string> cpus;
    std::uint32_t flows;
    double seconds;
    bool masquerade;
    bool crossing;
    bool huge;
    std::string json;

    [[nodiscard]] std::uint16_t workers() const { return static_cast<std::uint16_t>(cpus.size()); }
};

std::optional<Wanted> read_wanted(int argc, const char* const* argv) {
    po::options_description options("Options");
    auto add = options.add_options();
    add("cpus", po::value<std::string>()->default_value("0"), "of the workers, one each, such as 0,1");
    add("flows", po::value<std::uint32_t>()->default_value(1000), "of all queues together, 1 to 16,000,000");
    add("seconds", po::value<double>()->default_value(3), "how long to measure");
    add("masquerade", po::bool_switch(), "translate the flows' sources");
    add("crossing", po::bool_switch(), "the two directions of a flow are on different workers");
    add("no-huge", po::bool_switch(), "without huge pages");
    add("json", po::value<std::string>()->default_value("-"), "write the report here; - for standard output");
    po::variables_map values;
    if (!options::read(argc, argv, kUsage, kExamples, options, values)) return std::nullopt;
    Wanted wanted{{},
                  values["flows"].as<std::uint32_t>(),
                  values["seconds"].as<double>(),
                  values["masquerade"].as<bool>(),
                  values["crossing"].as<bool>(),
                  !values["no-huge"].as<bool>(),
                  values["json"].as<std::string>()};
    std::string cpu;
    for (const char c : values["cpus"].as<std::string>() + ",") {
        if (c != ',') {
            cpu += c;
            continue;
        }
        if (cpu.empty() || cpu.find_first_not_of("0123456789") != std::string::npos)
            throw Refused("--cpus", "must be numbers such as 0,1");
        wanted.cpus.push_back(std::exchange(cpu, {}));
    }
    if (wanted.cpus.size() > 16) throw Refused("--cpus", "are 16 at most");
    if (wanted.flows < wanted.cpus.size() || wanted.flows > 16'000'000)
        throw Refused("--flows", "must be a number from the workers' to 16000000");
    return wanted;
}

class Eal {
public:
    explicit Eal(const Wanted& wanted) {
        const auto online = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
        auto lcores = "0@(0-" + std::to_string(online - 1) + ")";
        for (std::size_t i = 0; i < wanted.cpus.size(); ++i)
            lcores += "," + std::to_string(i + 1) + "@" + wanted.cpus[i];
        std::vector<std::string> words = {"viaduct-inprocess",
                                          "--no-pci",
                                          "--no-telemetry",
                                          "--log-level",
                                          "*:warning",
                                          "--file-prefix",
                                          "vd-" + std::to_string(::getpid()) + "-inprocess",
                                          "--lcores",
                                          lcores,
                                          "-m",
                                          "256",
                                          wanted.huge ? "--in-memory" : "--no-huge"};
        std::vector<char*> pointers;
        for (auto& word : words)
            pointers.push_back(word.data());
        rte_openlog_stream(stderr);
        if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0)
            throw std::runtime_error(std::string("DPDK cannot start: ") + rte_strerror(rte_errno));
    }
    ~Eal() {
        const std::string runtime = rte_eal_get_runtime_dir();
        rte_eal_cleanup();
        std::error_code ignored;
        std::filesystem::remove_all(runtime, ignored);
    }
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;
};

/// A router with a static neighbour and a route on each side.
model::Change network(const Wanted& wanted) {
    const auto queues = std::to_string(wanted.workers());
    auto text = std::string(R"({"put": {
        "bridges": [{"name": "br0"}, {"name": "br1"}],
        "ports": [
            {"name": "near", "kind": "vhost-user", "bridge": "br0", "path": "/near", "queues": QUEUES},
            {"name": "far", "kind": "vhost-user", "bridge": "br1", "path": "/far", "queues": QUEUES}],
        "interfaces": [
            {"name": "near", "bridge": "br0", "mac": "02:00:00:00:01:01", "addresses": ["192.168.1.1/24"]},
            {"name": "far", "bridge": "br1", "mac": "02:00:00:00:01:02", "addresses": ["192.168.2.1/24"]}],
        "neighbours": [
            {"interface": "near", "address": "192.168.1.2", "mac": "02:00:00:00:00:0a"},
            {"interface": "far", "address": "192.168.2.2", "mac": "02:00:00:00:00:0b"}],
        "fdb": [
            {"bridge": "br0", "mac": "02:00:00:00:00:0a", "port": "near"},
            {"bridge": "br1", "mac": "02:00:00:00:00:0b", "port": "far"}],
        "routes": [
            {"prefix": "10.1.0.0/16", "next_hops": [{"interface": "near", "via": "192.168.1.2"}]},
            {"prefix": "10.2.0.0/16", "next_hops": [{"interface": "far", "via": "192.168.2.2"}]}])");
    if (wanted.masquerade) {
        text += R"(, "masquerades": [{"name": "sources", "source": "10.1.0.0/16", "interface": "far",
                                      "pool": ["192.0.2.1-192.0.2.64"]}])";
    }
    text += "}}";
    for (auto at = text.find("QUEUES"); at != std::string::npos; at = text.find("QUEUES"))
        text.replace(at, std::string("QUEUES").size(), queues);
    Faults faults;
    auto change = model::change_from_json(parse_json(text, "network"), "", faults);
    if (!faults.empty()) throw Refused(faults);
    return change;
}

std::vector<pktgen::Flows> flows_of(const Wanted& wanted) {
    std::vector<pktgen::Flows> all;
    for (std::uint32_t i = 0; i < wanted.workers(); ++i) {
        pktgen::Options options;
        options.source_mac = {{0x02, 0, 0, 0, 0, 0x0a}};
        options.destination_mac = {{0x02, 0, 0, 0, 0x01, 0x01}};
        options.size = kFrameBytes;
        options.source_ip = RTE_IPV4(10, 1, 0, 1) + i * kSourcesApart;
        options.source_addresses = kSources;
        options.destination_ip = RTE_IPV4(10, 2, 0, 1);
        all.emplace_back(options, wanted.flows / wanted.workers());
    }
    return all;
}

/// The dataplane and its two ports.
class Loop {
public:
    explicit Loop(const Wanted& wanted) : wanted_(wanted) {
        dataplane::DataplaneOptions options;
        for (unsigned i = 1; i <= wanted.workers(); ++i)
            options.worker_lcores.push_back(i);
        options.poll = dataplane::PollMode::busy;
        // Both directions of each flow, and as much again so that none has to give way.
        options.flow_memory = std::make_shared<dataplane::FlowMemory>(
            dataplane::FlowMemoryOptions{.path = "",
                                         .entries4 = std::max(65536U, wanted.flows * 4),
                                         .entries6 = 1024,
                                         .huge = wanted.huge});
        options.make_port = [this](const model::Port& port, PortIndex, rte_mempool*,
                                   dataplane::PortListener&) -> std::unique_ptr<dataplane::Port> {
            const auto capacity = kWindow * wanted_.workers() + dataplane::kBurst;
            if (port.name == "near") {
                auto made = std::make_unique<NearPort>(flows_of(wanted_), capacity, kFrameBytes);
                near_ = made.get();
                return made;
            }
            auto made = std::make_unique<FarPort>(port.queues, capacity, wanted_.crossing);
            far_ = made.get();
            return made;
        };
        dataplane_ = std::make_unique<dataplane::Dataplane>(std::move(options));
        dataplane_->apply(network(wanted));
        dataplane_->tick();
        for (std::uint16_t queue = 0; queue < wanted.workers(); ++queue) {
            if (!near_->fill(queue, dataplane_->pool(), kWindow))
                throw std::runtime_error("no packet buffers are left");
        }
    }

    /// Until every queue's flows went round, and the first second is over.
    void warm_up() {
        const auto start = Clock::now();
        for (;;) {
            wait(kTick);
            const auto waited = Clock::now() - start;
            bool all = waited > std::chrono::seconds(1);
            for (std::uint16_t queue = 0; queue < wanted_.workers(); ++queue)
                all = all && near_->lane(queue).sent() >= wanted_.flows / wanted_.workers() + kWindow;
            if (all) return;
            if (waited > kPatience) throw std::runtime_error("frames do not go round; " + drops());
        }
    }

    Json::Value measure() {
        const auto before = carried();
        const auto dropped = dataplane_->ledger().total.dropped();
        const auto start = Clock::now();
        const auto end = start + std::chrono::duration<double>(wanted_.seconds);
        while (Clock::now() < end)
            wait(kTick);
        const auto seconds = std::chrono::duration<double>(Clock::now() - start).count();
        const auto frames = carried() - before;
        Json::Value json(Json::objectValue);
        json["workers"] = wanted_.workers();
        json["flows"] = wanted_.flows;
        json["seconds"] = seconds;
        json["mpps"] = static_cast<double>(frames) / seconds / 1e6;
        json["dropped"] = Json::UInt64(dataplane_->ledger().total.dropped() - dropped);
        auto& handed = json["handed_off"] = 0;
        for (const auto& worker : dataplane_->workers())
            handed = Json::UInt64(handed.asUInt64() + worker.handed_off);
        return json;
    }

private:
    /// Slow work goes on.
    void wait(std::chrono::milliseconds time) {
        std::this_thread::sleep_for(time);
        dataplane_->tick();
    }

    [[nodiscard]] std::uint64_t carried() const {
        std::uint64_t frames = 0;
        for (std::uint16_t queue = 0; queue < wanted_.workers(); ++queue)
            frames += near_->lane(queue).sent() + far_->lane(queue).sent();
        return frames;
    }

    [[nodiscard]] std::string drops() const {
        const auto total = dataplane_->ledger().total;
        return std::to_string(total.rx_packets) + " were received, " + std::to_string(total.dropped()) +
               " dropped, " + std::to_string(total.tx_packets) + " sent";
    }

    const Wanted& wanted_;
    NearPort* near_ = nullptr;
    FarPort* far_ = nullptr;
    std::unique_ptr<dataplane::Dataplane> dataplane_;
};

int run(const Wanted& wanted) {
    spdlog::set_level(spdlog::level::warn);
    const Eal eal(wanted);
    Loop loop(wanted);
    loop.warm_up();
    const auto text = to_json_text(loop.measure(), true) + "\n";
    if (wanted.json == "-") {
        std::cout << text << std::flush;
        return 0;
    }
    std::ofstream stream(wanted.json, std::ios::trunc);
    stream << text << std::flush;
    if (!stream) throw std::runtime_error("cannot write " + wanted.json);
    return 0;
}

}  // namespace
}  // namespace viaduct::inprocess

int main(int argc, char** argv) {
    try {
        const auto wanted = viaduct::inprocess::read_wanted(argc, argv);
        return wanted ? viaduct::inprocess::run(*wanted) : 0;
    } catch (const viaduct::Refused& refused) {
        std::cerr << "viaduct-inprocess: " << refused.what() << std::endl;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "viaduct-inprocess: " << error.what() << std::endl;
        return 1;
    }
}
