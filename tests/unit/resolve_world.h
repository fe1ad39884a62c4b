// A small network for tests of resolve: two router interfaces, their neighbours and routes, and one packet at
// a time through the stages. No NIC, no EAL, no worker.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <rte_mbuf.h>

#include "viaduct/model.h"

#include "flow/flow_memory.h"
#include "idle_port.h"
#include "resolve/commit.h"
#include "resolve/trace.h"
#include "tables/tables_builder.h"

namespace viaduct::dataplane {

/// lan: 10.0.0.1/24, 2001:db8:1::1/64 (interface 0, port 0); wan: 192.0.2.1/24, 2001:db8:2::1/64 (interface
/// 1, port 1). Hosts: 10.0.0.2 and 2001:db8:1::2 on lan, gateways 192.0.2.254 and 2001:db8:2::fe on wan.
class World {
public:
    static constexpr InterfaceIndex kLan = 0;
    static constexpr InterfaceIndex kWan = 1;

    /// `entries`: room in each flow table.
    explicit World(std::uint32_t entries = 1024)
        : memory{FlowMemoryOptions{.entries4 = entries, .entries6 = entries, .seed = 7}} {
        config.interfaces["lan"] = interface("lan", {"10.0.0.1/24", "2001:db8:1::1/64"});
        config.interfaces["wan"] = interface("wan", {"192.0.2.1/24", "2001:db8:2::1/64"});
        route("0.0.0.0/0", "192.0.2.254");
        route("::/0", "2001:db8:2::fe");
        for (std::size_t i = 0; i < 2; ++i) {
            bridges_[i].fdb = std::make_shared<Fdb>(64, 1);
            bridges_[i].fdb->set_static(fdb_key(mac(static_cast<unsigned>(i)).to_u64(), 0),
                                        static_cast<PortIndex>(i));
        }
        neighbour(kLan, "10.0.0.2", 0);
        neighbour(kLan, "2001:db8:1::2", 0);
        neighbour(kWan, "192.0.2.254", 1);
        neighbour(kWan, "2001:db8:2::fe", 1);
        build();
    }

    static model::Interface interface(const std::string& name, const std::vector<std::string>& addresses) {
        model::Interface made;
        made.name = name;
        for (const auto& text : addresses)
            made.addresses.push_back(Prefix::parse(text).value());
        return made;
    }
    static MacAddress mac(unsigned host) { return MacAddress::from_u64(0x020000000a00 + host); }

    void route(const std::string& prefix, const std::string& via,
               model::RouteKind kind = model::RouteKind::unicast, std::uint32_t mtu = 0) {
        model::Route made;
        made.prefix = Prefix::parse(prefix).value();
        made.kind = kind;
        made.mtu = mtu;
        if (kind == model::RouteKind::unicast) made.next_hops.push_back({IpAddress::parse(via), "wan", 1});
        config.routes[{made.vrf, made.prefix}] = made;
    }
    void neighbour(InterfaceIndex interface, const std::string& address, unsigned host) {
        permanent_.push_back({{interface, IpAddress::parse(address).value()}, mac(host)});
    }

    /// After changes of `config`: what they mean is in force.
    void build() {
        shared->neighbours.configure([](InterfaceIndex) { return true; }, permanent_);
        const auto zone = [&](const std::string& vrf) { return memory.zone(vrf); };
        topology = std::make_unique<Topology>();
        topology->tables =
            builder.build(config, {{"lan", kLan}, {"wan", kWan}}, zone, ++generation, std::nullopt);
        topology->flow_generation = generation;
        topology->interfaces.resize(2);
        for (std::size_t i = 0; i < 2; ++i) {
            const auto& entry = topology->tables->interfaces[i];
            topology->interfaces[i] = {&bridges_[i],    0,         entry.zone,
                                       entry.config.up, entry.mac, entry.config.mtu};
            auto& port = topology->ports[i];
            port.port = &idle_;
            port.bridge = &bridges_[i];
            port.frame_most = 1514;
            port.admin_up = port.link_up = true;
        }
    }

    FlowTables flows() { return {&v4, &v6, &bridged}; }

    /// What would become of an IP packet that comes in by an interface.
    Traced trace(InterfaceIndex interface, const std::vector<std::uint8_t>& ip) {
        load(ip);
        return trace_routed({frame.get(), interface, interface, 14, false}, *topology, flows(), *shared, now);
    }
    /// The frame that `ip` is in, in `frame`.
    void load(const std::vector<std::uint8_t>& ip) {
        bytes.assign(14, 0);
        const bool v4_packet = !ip.empty() && ip[0] >> 4 == 4;
        bytes[12] = v4_packet ? 0x08 : 0x86;
        bytes[13] = v4_packet ? 0x00 : 0xdd;
        bytes.insert(bytes.end(), ip.begin(), ip.end());
        *frame = {};
        frame->buf_addr = bytes.data();
        frame->buf_len = static_cast<std::uint16_t>(bytes.size());
        frame->data_len = static_cast<std::uint16_t>(bytes.size());
        frame->pkt_len = static_cast<std::uint32_t>(bytes.size());
        frame->nb_segs = 1;
        rte_mbuf_refcnt_set(frame.get(), 1);
    }
    model::Config config;
    FlowMemory memory;
    std::unique_ptr<ResolveShared> shared = std::make_unique<ResolveShared>(7);
    FlowTable<FlowKey4> v4{memory.table4(), memory.entries4(), memory.seed(), &shared->nat_ports};
    FlowTable<FlowKey6> v6{memory.table6(), memory.entries6(), memory.seed(), &shared->nat_ports};
    BridgedPairs bridged{7};
    TablesBuilder builder;
    std::unique_ptr<Topology> topology;
    std::uint32_t generation = 0;
    std::uint32_t now = 1000;
    std::vector<std::uint8_t> bytes;
    std::unique_ptr<rte_mbuf> frame = std::make_unique<rte_mbuf>();

private:
    std::array<BridgeView, 2> bridges_;
    IdlePort idle_;
    std::vector<PermanentNeighbour> permanent_;
};

}  // namespace viaduct::dataplane
