// Two nodes, one after the other, with what is one service to them: they share no state, and yet it does not
// matter to which one a client's packets come.
#include <map>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "service_node.h"

namespace viaduct::test {

namespace {

constexpr const char* kService =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: apps}\n"
    "spec:\n  clusterIPs: [10.96.0.10, 'fd00:96::a']\n  ipFamilyPolicy: RequireDualStack\n  ports:\n"
    "  - {name: t, port: 80, targetPort: 8080}\n"
    "  - {name: u, port: 80, targetPort: 8080, protocol: UDP}\n"
    "  - {name: s, port: 80, targetPort: 8080, protocol: SCTP}\n";

/// One endpoint of this node and one of the other, in a slice by itself.
std::string slice(unsigned number, bool v4) {
    const auto name = "web-" + std::to_string(number) + (v4 ? "-v4" : "-v6");
    const auto address = (v4 ? "10.0.0." : "fd00::") + std::to_string(number + 2);
    const auto other = (v4 ? "10.1.0." : "fd00:1::") + std::to_string(number + 2);
    return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + name +
           ", namespace: apps, labels: {kubernetes.io/service-name: web}}\naddressType: " +
           (v4 ? "IPv4" : "IPv6") +
           "\nports: [{name: t, port: 8080}, {name: u, port: 8080, protocol: UDP}, "
           "{name: s, port: 8080, protocol: SCTP}]\nendpoints:\n- {addresses: ['" +
           address + "'], nodeName: here}\n- {addresses: ['" + other + "'], nodeName: there}\n";
}

CaseNode node_named(const char* name) {
    CaseNode node;
    node.name = name;
    for (const char* text : {"192.0.2.1/24", "2001:db8::1/64"})
        node.addresses.push_back(Prefix::parse(text).value());
    for (const char* text : {"10.96.0.0/16", "fd00:96::/112"})
        node.ranges.push_back(Prefix::parse(text).value());
    return node;
}

constexpr unsigned kSlices = 4;

/// The endpoints come in this order, one after the other.
void add_all(ServiceNode& node, bool backwards) {
    std::string manifests = kService;
    for (unsigned i = 0; i < kSlices; ++i) {
        for (const bool v4 : {true, false})
            manifests += slice(backwards ? kSlices - 1 - i : i, v4);
        node.apply(manifests);
        manifests.clear();
    }
}

/// A thousand connections of as many clients, of both families and all protocols.
std::vector<ServiceNode::Sent> connections(std::uint8_t tcp_flags) {
    std::vector<ServiceNode::Sent> all;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        const bool v4 = i % 2 == 0;
        PacketSpec packet;
        packet.source = IpAddress::parse(v4 ? "198.51.100.0" : "2001:db8:1::")->plus(1 + i / 4)->to_string();
        packet.destination = v4 ? "10.96.0.10" : "fd00:96::a";
        packet.protocol = i % 3 == 0 ? kTcp : i % 3 == 1 ? kUdp : kSctp;
        packet.source_port = static_cast<std::uint16_t>(20000 + i);
        packet.destination_port = 80;
        packet.tcp_flags = tcp_flags;
        all.push_back({packet, i + 1});
    }
    return all;
}

using Chosen = std::map<std::uint32_t, std::string>;

Chosen chosen_by(ServiceNode& node, std::uint8_t tcp_flags) {
    Chosen chosen;
    for (const auto& seen : node.exchange(connections(tcp_flags)))
        chosen[seen.number.value_or(0)] = seen.destination;
    return chosen;
}

class ServiceNodes : public testing::Test {
protected:
    static void SetUpTestSuite() { spdlog::set_level(spdlog::level::err); }
};

TEST_F(ServiceNodes, ChooseAlikeWhateverTheOrderInWhichEndpointsCame) {
    Chosen first;
    {
        ServiceNode node(node_named("here"));
        add_all(node, false);
        first = chosen_by(node, 0x02);
    }
    ASSERT_EQ(first.size(), 1000U);
    std::map<std::string, unsigned> shares;
    for (const auto& [number, backend] : first)
        ++shares[backend];
    EXPECT_EQ(shares.size(), 4 * kSlices) << testing::PrintToString(shares);
    // Other endpoints are local there, and it has chosen for others before.
    ServiceNode node(node_named("there"));
    add_all(node, true);
    EXPECT_EQ(chosen_by(node, 0x02), first);
}

// TCP segments amid a connection begin a flow as a SYN does, and answers come back by it.
TEST_F(ServiceNodes, TakeOverEachOthersConnections) {
    Chosen begun;
    {
        ServiceNode node(node_named("here"));
        add_all(node, false);
        begun = chosen_by(node, 0x02);
    }
    ServiceNode node(node_named("here"));
    add_all(node, true);
    EXPECT_EQ(chosen_by(node, 0x10), begun);
    std::vector<ServiceNode::Sent> answers;
    const auto sent = connections(0x10);
    for (const auto& one : sent) {
        const auto [address, port] = place_from(begun.at(one.number));
        // Those elsewhere see the node, by whose uplink their client came: cases have that.
        if (!node.port_of(address).starts_with("pod-")) continue;
        PacketSpec packet{address, one.packet.source, one.packet.protocol, port, one.packet.source_port};
        packet.tcp_flags = 0x10;
        answers.push_back({packet, one.number});
    }
    ASSERT_GT(answers.size(), 300U);
    const auto seen = node.exchange(answers);
    EXPECT_EQ(seen.size(), answers.size());
    for (const auto& one : seen) {
        const auto& packet = sent.at(one.number.value_or(1) - 1).packet;
        ASSERT_EQ(one.port + " " + one.source + " > " + one.destination,
                  "up " + place_text(packet.destination, 80) + " > " +
                      place_text(packet.source, packet.source_port));
    }
}

}  // namespace

}  // namespace viaduct::test
