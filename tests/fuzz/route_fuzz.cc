// Frames from a guest, byte by byte what the fuzzer likes, through bridge, parsing, resolving and executing,
// with NAT in both directions, services of every kind, both families, MSS clamping and a VLAN. Every frame is
// sent twice, so that flows that the first made are executed by the second. After each input every frame must
// be accounted for.
//
// Input: frames one after another, each a byte of flags (bit 0: from the other port; bit 1: leave its
// destination address as it is instead of putting the gateway's there; bits 2 and 3: its ethertype to IPv4,
// IPv6, ARP; bit 4: a virtio-net header's words go with it, bits 5 and 6: of which kind of segment, bit 7:
// all of it is the frame's last bytes), a byte and a half of length (the half before it: bit 4: from the
// host, which shares the outer interface; bit 5: from a peer on the pod's bridge, which has the pod for a
// backend), and the bytes. What leaves by `up` is finished and cut, what leaves by `pod` is not. The guard of
// a port looks at every frame.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "viaduct/model.h"

#include "flow/flow_memory.h"
#include "forward/forwarder.h"
#include "forward/guard.h"
#include "forward/switch.h"
#include "idle_port.h"
#include "port/offload.h"
#include "resolve/resolver.h"
#include "resolve/shared.h"
#include "tables/tables_builder.h"
#include "topology_builder.h"

namespace {

using namespace viaduct;
using namespace viaduct::dataplane;

constexpr std::uint32_t kBuffers = 2047;

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::abort();
}

/// Looks at every frame that leaves and lets it go.
class Sink final : public IdlePort, private Sender {
public:
    void set_offloads(Offloads can) { can_ = can; }
    std::uint16_t transmit(std::uint16_t queue, rte_mbuf** frames, std::uint16_t count) override {
        if (must_finish(can_, frames, count))
            return finish_and_send(*this, can_, frames[0]->pool, queue, frames, count, lost_);
        return send(queue, frames, count);
    }

private:
    std::uint16_t send(std::uint16_t, rte_mbuf** frames, std::uint16_t count) override {
        for (std::uint16_t i = 0; i < count; ++i) {
            const char* why = nullptr;
            require(rte_mbuf_check(frames[i], 1, &why) == 0,
                    why == nullptr ? "a sound chain of buffers" : why);
            require(frames[i]->pkt_len >= 14, "a whole Ethernet header");
            require(can_ != 0 || (frames[i]->ol_flags & kLeftToDo) == 0, "nothing is left to do");
            (void)virtio_net_header(frames[i]);
            rte_pktmbuf_free(frames[i]);
        }
        return count;
    }

    Offloads can_ = kOffloadsAll;
    std::atomic<std::uint64_t> lost_{0};
};

rte_mempool* start() {
    std::vector<std::string> words = {"fuzz",        "--no-huge", "--no-shconf",   "--no-pci",
                                      "-m",          "64",        "--lcores",      "0",
                                      "--log-level", "*:error",   "--no-telemetry"};
    std::vector<char*> argv;
    for (auto& word : words)
        argv.push_back(word.data());
    require(rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0, "EAL starts");
    auto* pool = rte_pktmbuf_pool_create("frames", kBuffers, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    require(pool != nullptr, "there is memory for frames");
    return pool;
}

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}
IpAddress address(const char* text) {
    return IpAddress::parse(text).value();
}

model::Frontend frontend(const char* at, std::uint16_t port) {
    model::Frontend frontend;
    frontend.address = address(at);
    frontend.port = port;
    return frontend;
}

model::Backend backend(const char* at, std::uint16_t port, bool local) {
    model::Backend backend;
    backend.address = address(at);
    backend.port = port;
    backend.local = local;
    return backend;
}

/// The two backends whose flows are counted.
constexpr const char* kCounted4 = "10.0.0.2";
constexpr const char* kCounted6 = "fd00::2";
constexpr std::uint16_t kCountedPort = 5353;

/// One for each way of balancing and each protocol, at 10.96.0.N and fd00:96::N: behind them the guest
/// itself, one that is not there and one outside. The last has nobody behind it.
void add_services(model::Config& config) {
    using model::Balance;
    using model::Transport;
    const auto add = [&](const char* name, Transport protocol, Balance balance, unsigned number) -> auto& {
        auto& service = config.services[{"apps", name, "main"}];
        service.namespace_ = "apps";
        service.name = name;
        service.port = "main";
        service.protocol = protocol;
        service.balance = balance;
        const auto last = std::to_string(number);
        service.frontends = {frontend(("10.96.0." + last).c_str(), 80),
                             frontend(("fd00:96::" + last).c_str(), 80)};
        return service;
    };
    auto& web = add("web", Transport::tcp, Balance::maglev, 1);
    web.frontends.push_back(frontend("192.0.2.1", 30080));
    web.frontends.push_back(frontend("2001:db8::1", 30080));
    for (auto& one : web.frontends)
        one.external = one.port == 30080;
    web.backends = {backend("10.0.0.2", 8080, true), backend("192.0.2.2", 8080, false),
                    backend("2001:db8::2", 8080, false), backend("fd00::2", 8080, true)};
    auto& query = add("query", Transport::udp, Balance::random, 2);
    query.frontends.push_back(frontend("203.0.113.5", 53));
    query.frontends.back().external = query.frontends.back().restricted = true;
    query.allow_from = {prefix("192.0.2.0/25")};
    query.affinity = 2;
    query.backends = {backend("10.0.0.2", 53, true), backend("10.0.0.7", 53, true),
                      backend("fd00::2", 53, true)};
    query.backends[0].draining = true;
    auto& least = add("least", Transport::udp, Balance::least_connections, 3);
    least.backends = {backend(kCounted4, kCountedPort, true), backend(kCounted6, kCountedPort, true)};
    auto& signalling = add("signalling", Transport::sctp, Balance::round_robin, 4);
    signalling.frontends.push_back(frontend("192.0.2.1", 30081));
    signalling.frontends.back().external = signalling.frontends.back().local_only = true;
    signalling.backends = {backend("10.0.0.2", 81, true), backend("192.0.2.2", 81, false),
                           backend("fd00::2", 80, true)};
    add("empty", Transport::tcp, Balance::maglev, 5);
    for (const char* name : {"web", "query", "least", "signalling", "empty"}) {
        auto& service = config.services[{"apps", name, "main"}];
        std::sort(service.frontends.begin(), service.frontends.end());
        std::sort(service.backends.begin(), service.backends.end());
    }
}

model::Config configuration() {
    model::Config config;
    config.bridges["in"] = {.name = "in"};
    config.bridges["out"] = {.name = "out", .vlan_filtering = true};
    config.ports["pod"] = {.name = "pod", .bridge = "in"};
    config.ports["peer"] = {.name = "peer", .bridge = "in"};
    config.ports["up"] = {.name = "up",
                          .kind = model::PortKind::uplink,
                          .bridge = "out",
                          .vlan = model::VlanMembership{0, {{20, 20}}}};
    config.ports["host"] = {
        .name = "host", .bridge = "out", .vlan = model::VlanMembership{20, {}}, .host = "out"};
    model::Interface in{.name = "in", .bridge = "in", .mac = MacAddress::from_u64(0x020000000101)};
    in.addresses = {prefix("10.0.0.1/24"), prefix("fd00::1/64")};
    in.proxy_arp = true;
    in.router_advertisements = true;
    in.isolated = true;
    model::Interface out{
        .name = "out", .bridge = "out", .vlan = 20, .mac = MacAddress::from_u64(0x020000000102)};
    out.addresses = {prefix("192.0.2.1/24"), prefix("2001:db8::1/64")};
    out.mtu = 1280;
    out.clamp_mss = true;
    out.isolated = true;
    out.allow_from = {prefix("10.0.0.0/30"), prefix("fd00::/120")};
    config.interfaces = {{"in", in}, {"out", out}};
    for (const auto* to : {"0.0.0.0/0", "::/0"}) {
        model::Route route{.prefix = prefix(to)};
        route.next_hops = {{address(route.prefix.address.is_v4() ? "192.0.2.2" : "2001:db8::2"), "out", 1}};
        config.routes[{route.vrf, route.prefix}] = route;
    }
    const auto neighbour = [&](const char* interface, const char* ip, std::uint64_t mac) {
        config.neighbours[{interface, address(ip)}] = {interface, address(ip), MacAddress::from_u64(mac)};
    };
    neighbour("out", "192.0.2.2", 0x020000000002);
    neighbour("out", "2001:db8::2", 0x020000000002);
    neighbour("in", "10.0.0.2", 0x020000000001);
    neighbour("in", "fd00::2", 0x020000000001);
    neighbour("in", "10.0.0.7", 0x020000000007);
    neighbour("in", "fd00::7", 0x020000000007);
    config.masquerades["m4"] = {
        .name = "m4", .source = prefix("10.0.0.0/24"), .except = {prefix("10.0.0.0/24")}};
    config.masquerades["m6"] = {
        .name = "m6", .source = prefix("fd00::/64"), .except = {prefix("fd00::/64")}, .port_high = 1100};
    config.port_forwards["web"] = {.name = "web",
                                   .address = address("192.0.2.1"),
                                   .port = 80,
                                   .port_last = 90,
                                   .to = address("10.0.0.2"),
                                   .to_port = 8080};
    config.static_nats["one"] = {
        .name = "one", .outside = address("192.0.2.9"), .inside = address("10.0.0.9")};
    add_services(config);
    return config;
}

/// A dataplane of one worker without its loop.
class Node {
public:
    Node() {
        const auto config = configuration();
        const InterfacePlaces places{{"in", 0}, {"out", 1}};
        TablesBuilder builder;
        std::map<std::string, PlacedBridge> bridges;
        for (const auto& [name, bridge] : config.bridges)
            bridges[name] = {&bridge, std::make_shared<Fdb>(1024, 1)};
        const std::vector<PlacedPort> ports{{&config.ports.at("pod"), 0, &sinks_[0]},
                                            {&config.ports.at("up"), 1, &sinks_[1]},
                                            {&config.ports.at("host"), 2, &sinks_[2]},
                                            {&config.ports.at("peer"), 3, &sinks_[3]}};
        const std::vector<PlacedInterface> interfaces{{&config.interfaces.at("in"), 0, 0},
                                                      {&config.interfaces.at("out"), 1, 0}};
        topology_ = build_topology(ports, bridges, interfaces, {},
                                   {{{0, 0}, 0}, {{1, 0}, 0}, {{2, 0}, 0}, {{3, 0}, 0}}, 1);
        topology_->tables = builder.build(
            config, places, [](const std::string&) { return Zone{0}; }, 1, std::nullopt);
        topology_->flow_generation = 1;
        bridges.at("in").fdb->set_static(fdb_key(0x020000000101, 0), kGatewayFirst);
        bridges.at("in").fdb->set_static(fdb_key(0x020000000001, 0), 0);
        bridges.at("in").fdb->set_static(fdb_key(0x020000000007, 0), 3);
        bridges.at("out").fdb->set_static(fdb_key(0x020000000102, 20), kGatewayFirst + 1);
        std::vector<PermanentNeighbour> permanent;
        for (const auto& [key, neighbour] : config.neighbours)
            permanent.push_back({{places.at(neighbour.interface), neighbour.address}, neighbour.mac});
        shared_.neighbours.configure([](InterfaceIndex index) { return index < 2; }, permanent);
        forwarder_.set_first_packets(resolver_);
        sinks_[1].set_offloads(0);
    }

    void begin() { forwarder_.begin(*topology_, ++now_); }
    void receive(PortIndex from, rte_mbuf* frame) {
        forwarder_.receive(from, &frame, 1);
        forwarder_.flush();
    }
    void end() {
        resolver_.housekeeping();
        v4_.expire(0, v4_.buckets(), now_, topology_->flow_timeouts);
        v6_.expire(0, v6_.buckets(), now_, topology_->flow_timeouts);
        forwarder_.flush();
        PortTotals total;
        for (const auto& counters : *counters_)
            total.add(counters);
        require(total.rx_packets + total.copies + total.originated ==
                    total.tx_packets + total.dropped() + total.consumed + resolver_.held(),
                "every frame is accounted for");
        require_loads(v4_, kCounted4);
        require_loads(v6_, kCounted6);
    }

private:
    /// What backends are said to have is what lies in the flow table.
    template <typename Key>
    void require_loads(const FlowTable<Key>& table, const char* backend) {
        std::uint32_t counted = 0;
        table.visit(0, table.buckets(), [&](const typename FlowTable<Key>::Seen& flow) {
            if (flow.forward.has(kFlowCounted)) ++counted;
            return true;
        });
        require(shared_.services.loads.flows(0, 17, address(backend), kCountedPort) == counted,
                "a backend's flows are as many as are counted");
    }

    std::array<Sink, 4> sinks_;
    NoHandOff no_hand_off_;
    FlowMemory memory_{{.entries4 = 512, .entries6 = 512, .seed = 1}};
    ResolveShared shared_{1};
    FlowTable<FlowKey4> v4_{memory_.table4(), 512, 1, &shared_.holdings};
    FlowTable<FlowKey6> v6_{memory_.table6(), 512, 1, &shared_.holdings};
    BridgedPairs bridged_{1};
    std::unique_ptr<Topology> topology_;
    std::unique_ptr<CounterBlock> counters_ = std::make_unique<CounterBlock>();
    Forwarder forwarder_{0, pool(), *counters_, no_hand_off_, FlowTables{&v4_, &v6_, &bridged_}};
    Resolver resolver_{forwarder_, shared_, 0, 1};
    std::uint32_t now_ = 1000;

public:
    static rte_mempool* pool() {
        static rte_mempool* const one = start();
        return one;
    }
};

/// The ports' places.
enum From : PortIndex { kFromPod, kFromUp, kFromHost, kFromPeer };

/// The frame with as much put right as its flags say.
rte_mbuf* make_frame(std::uint8_t flags, From from, const std::uint8_t* bytes, std::size_t size) {
    auto* frame = rte_pktmbuf_alloc(Node::pool());
    require(frame != nullptr, "buffers come back");
    auto* data = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(frame, static_cast<std::uint16_t>(size)));
    std::memcpy(data, bytes, size);
    const bool up = from == kFromUp;
    if ((flags & 2) == 0 && size >= 6) {
        const std::array<std::uint8_t, 6> gateway{
            2, 0, 0, 0, 1, static_cast<std::uint8_t>(from == kFromPod || from == kFromPeer ? 1 : 2)};
        std::copy(gateway.begin(), gateway.end(), data);
    }
    const std::size_t at = up ? 16 : 12;
    if (size < at + 2) return frame;
    if (up) {
        data[12] = 0x81;
        data[13] = 0;
        data[14] = 0;
        data[15] = 20;
    }
    constexpr std::array<std::uint16_t, 4> types{0, 0x0800, 0x86dd, 0x0806};
    if (const auto type = types[flags >> 2 & 3]; type != 0) {
        data[at] = static_cast<std::uint8_t>(type >> 8);
        data[at + 1] = static_cast<std::uint8_t>(type);
    }
    return frame;
}

/// IPv4's checksum is put right, or the fuzzer would never come past it.
void mend(rte_mbuf* frame) {
    auto* data = rte_pktmbuf_mtod(frame, std::uint8_t*);
    for (const std::size_t ip : {14U, 18U}) {
        if (frame->data_len < ip + 20 || data[ip] >> 4 != 4 || data[ip - 2] != 8) continue;
        const std::size_t header = (data[ip] & 15U) * 4U;
        if (header < 20 || frame->data_len < ip + header) continue;
        data[ip + 10] = data[ip + 11] = 0;
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < header; i += 2)
            sum += static_cast<std::uint32_t>(data[ip + i] << 8 | data[ip + i + 1]);
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        data[ip + 10] = static_cast<std::uint8_t>(~sum >> 8);
        data[ip + 11] = static_cast<std::uint8_t>(~sum);
    }
}

/// What the sender says of it: right in most respects, or nothing but what the fuzzer likes.
VirtioNetHeader header_of(std::uint8_t flags, From from, const rte_mbuf* frame) {
    VirtioNetHeader header{};
    if ((flags & 128) != 0) {
        if (frame->data_len >= sizeof header)
            std::memcpy(&header, rte_pktmbuf_mtod_offset(frame, const void*, frame->data_len - sizeof header),
                        sizeof header);
        return header;
    }
    constexpr std::array<std::uint8_t, 4> kinds{0, 1, 4, 5};
    const std::uint16_t l2 = from == kFromUp ? 18 : 14;
    const auto* data = rte_pktmbuf_mtod(frame, const std::uint8_t*);
    if (frame->data_len < l2 + 20) return header;
    const bool v4 = data[l2] >> 4 == 4;
    const auto l3 = v4 ? (data[l2] & 15U) * 4U : 40U;
    const auto protocol = data[l2 + (v4 ? 9 : 6)];
    return {1,
            kinds[flags >> 5 & 3],
            0,
            static_cast<std::uint16_t>(40 + data[frame->data_len - 1]),
            static_cast<std::uint16_t>(l2 + l3),
            static_cast<std::uint16_t>(protocol == 6 ? 16 : 6)};
}

/// False: refused, and gone.
bool take(std::uint8_t flags, From from, rte_mbuf* frame) {
    static const Guard guard(
        model::Guard{{MacAddress::from_u64(0x020000000001)}, {prefix("10.0.0.2/32"), prefix("fd00::/64")}});
    (void)guard.check(frame);
    if ((flags & 16) == 0 || take_offloads(frame, header_of(flags, from, frame))) return true;
    rte_pktmbuf_free(frame);
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Node node;
    node.begin();
    while (size >= 3) {
        const auto flags = data[0];
        const auto from = (data[1] & 16U) != 0   ? kFromHost
                          : (data[1] & 32U) != 0 ? kFromPeer
                          : (flags & 1) != 0     ? kFromUp
                                                 : kFromPod;
        const auto length =
            std::min<std::size_t>({size - 3, static_cast<std::size_t>((data[1] & 15U) << 8 | data[2]), 1800});
        for (int round = 0; round < 2; ++round) {
            auto* frame = make_frame(flags, from, data + 3, length);
            mend(frame);
            if (take(flags, from, frame)) node.receive(from, frame);
        }
        data += 3 + length;
        size -= 3 + length;
    }
    node.end();
    return 0;
}
