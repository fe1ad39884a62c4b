#include "options.h"

#include <arpa/inet.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include <boost/program_options.hpp>

#include "viaduct/fault.h"
#include "viaduct/options.h"

#include "frame.h"

namespace viaduct::pktgen {

namespace po = boost::program_options;

namespace {

constexpr const char* kUsage =
    "viaduct-pktgen: measures a device under test between two vhost-user ports, on one CPU\n"
    "\n"
    "Port 0 sends UDP frames of many flows, port 1 sends each back with its addresses and ports swapped, "
    "and\n"
    "port 0 counts what returns. Both ports are virtio-user servers: the device connects to their sockets.\n"
    "\n"
    "Usage: viaduct-pktgen --paths SOCKET,SOCKET [OPTION...]\n";

constexpr const char* kExamples =
    "Examples:\n"
    "  a device that does no more than MAC forwarding, then the generator:\n"
    "    dpdk-testpmd -l 0,1 --no-pci --in-memory --file-prefix dut --vdev "
    "net_vhost0,iface=/tmp/vh0,client=1 \\\n"
    "      --vdev net_vhost1,iface=/tmp/vh1,client=1 -- -i --forward-mode=mac --eth-peer=0,02:00:00:00:00:0a "
    "\\\n"
    "      --eth-peer=1,02:00:00:00:00:0b --auto-start\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --flows 1000,1000000 --seconds 5\n"
    "  what a device does with more than it can carry, and the report as JSON on standard output:\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --window 0 --json -\n"
    "  latency without queues:\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --window 8\n"
    "  through a gateway to a service:\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --destination-mac 02:00:00:00:00:01 \\\n"
    "      --destination-ip 10.96.0.10 --destination-port 53\n"
    "  how many flows a second begin:\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --flows 2000000 --once --one-way\n"
    "  10,000 flows alone, then beside a flood of ten million:\n"
    "    viaduct-pktgen --paths /tmp/vh0,/tmp/vh1 --flows 10000,10000 --watch --flood 10000000\n";

constexpr std::uint32_t kPortsEnd = 65536;
constexpr double kSliceLeast = 0.001;

[[noreturn]] void refuse(const std::string& option, const std::string& reason) {
    throw Refused("--" + option, reason);
}

template <typename Number>
Number number(const std::string& option, const std::string& text, Number low, Number high) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size() && value >= low && value <= high)
        return value;
    refuse(option, "must be a number from " + std::to_string(low) + " to " + std::to_string(high) +
                       ", not \"" + text + "\"");
}

class Values {
public:
    explicit Values(const po::variables_map& map) : map_(map) {}

    const std::string& text(const std::string& option) const { return map_[option].as<std::string>(); }

    std::uint32_t whole(const std::string& option, std::uint32_t low, std::uint32_t high) const {
        return number(option, text(option), low, high);
    }

    std::uint16_t small(const std::string& option, std::uint16_t low, std::uint16_t high) const {
        return number(option, text(option), low, high);
    }

    double seconds(const std::string& option, double low, double high) const {
        return number(option, text(option), low, high);
    }

    std::vector<std::string> list(const std::string& option) const {
        std::vector<std::string> words(1);
        for (const char c : text(option)) {
            if (c == ',') {
                words.emplace_back();
            } else {
                words.back() += c;
            }
        }
        return words;
    }

    std::uint32_t address(const std::string& option) const {
        in_addr address{};
        if (::inet_pton(AF_INET, text(option).c_str(), &address) != 1)
            refuse(option, "must be an IPv4 address such as 10.1.0.1, not \"" + text(option) + "\"");
        return ntohl(address.s_addr);
    }

    bool given(const std::string& option) const { return map_[option].as<bool>(); }

    rte_ether_addr mac(const std::string& option) const {
        rte_ether_addr mac{};
        if (rte_ether_unformat_addr(text(option).c_str(), &mac) != 0 ||
            !rte_is_valid_assigned_ether_addr(&mac)) {
            refuse(option,
                   "must be a unicast MAC address such as 02:00:00:00:00:0a, not \"" + text(option) + "\"");
        }
        return mac;
    }

private:
    const po::variables_map& map_;
};

po::options_description described() {
    po::options_description options("Options", 110, 60);
    const auto add = [&](const char* name, const char* standard, const char* unit, const char* help) {
        auto* value = po::value<std::string>()->value_name(unit);
        if (standard != nullptr) value->default_value(standard);
        options.add_options()(name, value, help);
    };
    add("paths", nullptr, "SOCKET,SOCKET",
        "vhost-user sockets to make, of port 0 and port 1; 107 bytes each at most");
    add("flows", "1000", "N,...", "flows of UDP, from 1 to 8,000,000; several numbers: one measurement each");
    add("seconds", "5", "S", "how long to measure, from 0.1 to 3600 seconds");
    add("warmup", "0.5", "S", "seconds of traffic before that, and at least until each flow was sent once");
    add("patience", "30", "S", "seconds to wait for the device to connect and to carry the first frame");
    add("size", "60", "BYTES", "of a frame without its 4-byte frame check sequence, from 60 to 1518");
    add("window", "768", "FRAMES",
        "most frames on their way at once, so that no queue overflows and loss is the device's; 0: as many "
        "as "
        "the queue takes (open loop), to see what the device does with too much");
    add("burst", "32", "FRAMES", "taken or sent in one call, from 1 to 64");
    add("queue-size", "1024", "SLOTS", "of each virtio queue, a power of 2 from 64 to 1024");
    add("cpu", "0", "CPU", "to run on, all of it");
    add("memory", "64", "MB", "of huge pages");
    add("source-mac", "02:00:00:00:00:0a", "MAC", "of port 0");
    add("destination-mac", "02:00:00:00:00:0b", "MAC", "to which port 0 sends");
    add("far-mac", nullptr, "MAC",
        "of port 1, which also answers ARP with it; --destination-mac unless given");
    add("source-ip", "10.1.0.1", "IP", "the first of the flows' source addresses");
    add("source-addresses", "1000", "N",
        "how many source addresses flows have before they take the next source port");
    add("source-port", "1024", "PORT", "the first");
    add("destination-ip", "10.2.0.1", "IP", "of every flow");
    add("destination-addresses", "1", "N", "flows go to so many, from --destination-ip on, in turn");
    add("destination-port", "9", "PORT", "of every flow");
    options.add_options()("one-way", po::bool_switch(),
                          "port 1 sends nothing back; the window is of frames that it has not heard yet");
    options.add_options()(
        "once", po::bool_switch(),
        "a measurement sends one frame of each flow, without a warm-up: how fast flows begin");
    options.add_options()(
        "watch", po::bool_switch(),
        "port 1 counts flows whose translated addresses change, which lost their connection");
    add("watch-destination", "", "IP",
        "tell when port 1 heard nothing for this address for longer than 0.1 s, once it had heard any");
    add("heard", "", "FILE",
        "write for which address port 1 heard each flow last: 4 bytes a flow in network order, 0 for never; "
        "a "
        "block a measurement");
    add("slice", "0", "S",
        "count what comes back by destination in slices of so many seconds, from 0.001; 0: do not");
    add("flood", "0", "N",
        "beside the last measurement, flows of one frame each, which port 1 does not send back; it lasts "
        "until "
        "all are sent");
    add("flood-rate", "500000", "N", "of them a second");
    add("device-arguments", "", "TEXT", "further arguments of net_virtio_user, such as mrg_rxbuf=0");
    add("file-prefix", nullptr, "NAME", "of DPDK, unlike any other process's; vd-<pid>-pktgen unless given");
    add("json", "", "FILE", "write the report as JSON; - for standard output");
    return options;
}

void read_paths(const Values& values, Options& options) {
    options.paths = values.list("paths");
    if (options.paths.size() != 2) refuse("paths", "must be two sockets, such as /tmp/vh0,/tmp/vh1");
    for (const auto& path : options.paths) {
        if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path))
            refuse("paths", "\"" + path + "\" must have 1 to 107 bytes, as a Unix socket's path");
    }
}

void read_flows(const Values& values, Options& options) {
    constexpr std::uint32_t most = 8'000'000;
    options.source_addresses = values.whole("source-addresses", 1, 1U << 20U);
    options.source_port = values.small("source-port", 1, 65535);
    const auto room = std::uint64_t{options.source_addresses} * (kPortsEnd - options.source_port);
    for (const auto& text : values.list("flows")) {
        options.flows.push_back(number<std::uint32_t>("flows", text, 1, most));
        if (options.flows.back() > room) {
            refuse("flows", text + " do not fit " + std::to_string(options.source_addresses) +
                                " --source-addresses with ports from --source-port: at most " +
                                std::to_string(room));
        }
    }
}

void read_kind(const Values& values, Options& options) {
    options.one_way = values.given("one-way");
    options.once = values.given("once");
    options.watch = values.given("watch");
    if (!values.text("watch-destination").empty())
        options.watch_destination = values.address("watch-destination");
    options.heard = values.text("heard");
    options.slice_seconds = values.seconds("slice", 0, 3600);
    if (options.slice_seconds > 0 && options.slice_seconds < kSliceLeast)
        refuse("slice", "must be 0 or at least 0.001");
    const auto room = std::uint64_t{options.source_addresses} * (kPortsEnd - kFloodPort);
    constexpr std::uint64_t most = 1'000'000'000;
    options.flood = values.whole("flood", 0, static_cast<std::uint32_t>(std::min(room, most)));
    options.flood_rate = values.whole("flood-rate", 1, 100'000'000);
    const auto last_port = options.source_port + (options.flows.back() - 1) / options.source_addresses;
    if (options.flood > 0 && last_port >= kFloodPort)
        refuse("flood", "takes source ports from " + std::to_string(kFloodPort) + "; --flows has them too");
}

}  // namespace

std::optional<Options> read_options(int argc, const char* const* argv) {
    po::variables_map map;
    if (!options::read(argc, argv, kUsage, kExamples, described(), map)) return std::nullopt;
    if (!map.contains("paths")) refuse("paths", "is required, such as --paths /tmp/vh0,/tmp/vh1");
    const Values values(map);
    Options options;
    read_paths(values, options);
    read_flows(values, options);
    read_kind(values, options);
    options.seconds = values.seconds("seconds", 0.1, 3600);
    options.warmup = values.seconds("warmup", 0, 3600);
    options.patience = values.seconds("patience", 0.1, 3600);
    options.size = values.whole("size", kFrameLeast, kFrameMost);
    options.window = values.whole("window", 0, 1U << 20U);
    options.burst = values.small("burst", 1, 64);
    options.queue_size = values.small("queue-size", 64, 1024);
    if ((options.queue_size & (options.queue_size - 1U)) != 0) refuse("queue-size", "must be a power of 2");
    options.cpu = values.whole("cpu", 0, 4095);
    options.memory_mb = values.whole("memory", 32, 65536);
    options.source_mac = values.mac("source-mac");
    options.destination_mac = values.mac("destination-mac");
    options.far_mac = values.mac(map.contains("far-mac") ? "far-mac" : "destination-mac");
    options.source_ip = values.address("source-ip");
    options.destination_ip = values.address("destination-ip");
    options.destination_addresses = values.whole("destination-addresses", 1, 1U << 20U);
    options.destination_port = values.small("destination-port", 1, 65535);
    options.device_arguments = values.text("device-arguments");
    options.file_prefix = map.contains("file-prefix") ? values.text("file-prefix")
                                                      : "vd-" + std::to_string(::getpid()) + "-pktgen";
    options.json = values.text("json");
    return options;
}

}  // namespace viaduct::pktgen
