// A router between pods and the world, for tests of what is routed: all neighbours and their ports are known.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "packets.h"

namespace viaduct::test {

using dataplane::Drop;

inline const char* const kIn = "02:00:00:00:01:01";  // the router's own, on each side
inline const char* const kOut = "02:00:00:00:02:01";
inline const char* const kPod = "02:00:00:00:01:02";  // hosts inside
inline const char* const kPeer = "02:00:00:00:01:03";
inline const char* const kWorld = "02:00:00:00:02:fe";  // the next hop outside

inline IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

/// A router between pods (10.0.0.0/24, fd00::/64; ports pod and peer) and the world (192.0.2.0/24,
/// 2001:db8::/64; port up). All neighbours are known.
class RouterTest : public ::testing::Test {
protected:
    explicit RouterTest(BenchOptions options = {}) : bench(options) {
        auto& c = change.put;
        for (const char* name : {"inside", "outside"})
            c.bridges[name].name = name;
        for (const auto& [name, bridge] :
             std::map<std::string, std::string>{{"pod", "inside"}, {"peer", "inside"}, {"up", "outside"}}) {
            c.ports[name].name = name;
            c.ports[name].kind = model::PortKind::wire;
            c.ports[name].bridge = bridge;
        }
        interface("inside", kIn, {"10.0.0.1/24", "fd00::1/64"});
        interface("outside", kOut, {"192.0.2.1/24", "2001:db8::1/64"});
        neighbour("inside", "10.0.0.2", kPod);
        neighbour("inside", "10.0.0.3", kPeer);
        neighbour("inside", "fd00::2", kPod);
        neighbour("inside", "fd00::3", kPeer);
        neighbour("outside", "192.0.2.254", kWorld);
        neighbour("outside", "2001:db8::fe", kWorld);
        route("0.0.0.0/0", "192.0.2.254");
        route("::/0", "2001:db8::fe");
        for (const auto& [bridge, mac, port] : std::vector<std::tuple<std::string, const char*, std::string>>{
                 {"inside", kPod, "pod"}, {"inside", kPeer, "peer"}, {"outside", kWorld, "up"}}) {
            const model::FdbEntry entry{bridge, 0, MacAddress::parse(mac).value(), port, {}};
            c.fdb[entry.key()] = entry;
        }
    }

    /// What became of packets, where a test fails.
    void TearDown() override {
        if (!HasFailure()) return;
        for (const char* port : {"pod", "peer", "up"}) {
            for (std::size_t i = 0; i < dataplane::kDropReasons; ++i) {
                const auto drops = bench.drops(port, static_cast<Drop>(i));
                if (drops != 0) ADD_FAILURE() << port << ": " << drops << " " << dataplane::kDrops[i].name;
            }
        }
    }

    void interface(const char* name, const char* mac, std::initializer_list<const char*> addresses) {
        auto& i = change.put.interfaces[name];
        i.name = i.bridge = name;
        i.mac = MacAddress::parse(mac);
        for (const char* address : addresses)
            i.addresses.push_back(Prefix::parse(address).value());
    }
    void neighbour(const char* interface, const char* address, const char* mac) {
        const model::Neighbour n{interface, ip(address), MacAddress::parse(mac).value()};
        change.put.neighbours[n.key()] = n;
    }
    void route(const char* prefix, const char* via) {
        model::Route r;
        r.prefix = Prefix::parse(prefix).value();
        r.next_hops = {{ip(via), "outside", 1}};
        change.put.routes[r.key()] = r;
    }
    model::Masquerade& masquerade(const char* name, const char* source) {
        auto& m = change.put.masquerades[name];
        m.name = name;
        m.source = Prefix::parse(source).value();
        m.interface = "outside";
        return m;
    }
    void forward(const char* name, model::Transport protocol, const char* address, std::uint16_t port,
                 std::uint16_t last, const char* to, std::uint16_t to_port) {
        change.put.port_forwards[name] = {name, "default", protocol, ip(address),
                                          port, last,      ip(to),   to_port};
    }
    void apply() {
        bench.apply(change);
        bench.dataplane().tick();
    }

    /// Sends from a port to the router; what comes out of another, in lines.
    std::vector<std::string> pass(const std::string& from, const PacketSpec& spec, const std::string& out) {
        const std::map<std::string, std::pair<const char*, const char*>> macs{
            {"pod", {kIn, kPod}}, {"peer", {kIn, kPeer}}, {"up", {kOut, kWorld}}};
        bench.inject(from, routed(spec, macs.at(from).first, macs.at(from).second));
        return collect(out);
    }
    /// What came out of a port, less what the router says of itself at its own times (ARP, ND).
    std::vector<Bytes> frames(const std::string& port) {
        auto all = bench.collect(port);
        std::erase_if(all, [](const Bytes& frame) {
            const bool nd = frame[12] == 0x86 && frame[20] == kIcmp6 && frame[54] >= 133 && frame[54] <= 137;
            return (frame[12] == 0x08 && frame[13] == 0x06) || nd;
        });
        return all;
    }
    std::vector<std::string> collect(const std::string& port) {
        std::vector<std::string> lines;
        for (const auto& frame : frames(port))
            lines.push_back(describe(frame));
        return lines;
    }
    static std::vector<std::string> one(const std::string& line) { return {line}; }

    model::Change change;
    Bench bench;
};

}  // namespace viaduct::test
