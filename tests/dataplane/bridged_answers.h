// A client and its backend on one bridge: what tests of their answers share.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "service_bench.h"

namespace viaduct::test {

class BridgedAnswers : public Services {
protected:
    explicit BridgedAnswers(BenchOptions options = {}) : Services(options) {}

    /// One service of the pod's for each protocol, in both families, on port 80 as its backend is.
    void serve(std::initializer_list<Transport> protocols = {Transport::tcp, Transport::udp,
                                                             Transport::sctp}) {
        for (const auto protocol : protocols) {
            auto& s = service(to_string(protocol).data(), protocol);
            s.frontends = {at(kCluster, 80), at(kCluster6, 80)};
            s.backends = {backend("10.0.0.2", 80), backend("fd00::2", 80)};
        }
        apply();
    }
    void put_outside(const char* name) {
        auto& port = change.put.ports[name];
        port.kind = model::PortKind::uplink;
        port.uplink.device = name;
        port.uplink.promiscuous = true;
    }
    static PacketSpec asked(std::uint16_t port, std::uint8_t protocol = kUdp) {
        return {"10.0.0.3", kCluster, protocol, port, 80};
    }
    static PacketSpec answer(std::uint16_t port, std::uint8_t protocol = kUdp) {
        return {"10.0.0.2", "10.0.0.3", protocol, 80, port};
    }
    std::vector<std::string> ask(const PacketSpec& spec) { return pass("peer", spec, "pod"); }
    /// From the pod to the peer, without the router.
    void send_directly(const Bytes& ip) { bench.inject("pod", framed(ip, kPeer, kPod)); }
    std::vector<std::string> answer_directly(const PacketSpec& spec) {
        send_directly(packet(spec));
        return collect("peer");
    }
    /// In pieces that fit when whole.
    std::vector<std::string> answer_in_fragments(std::uint16_t port) {
        auto spec = answer(port);
        spec.payload = 1200;
        for (const auto& piece : cut(packet(spec), 576, 7))
            send_directly(piece);
        return collect("peer");
    }
    std::uint64_t intercepted() { return bench.state("pod").totals.intercepted; }
};

}  // namespace viaduct::test
