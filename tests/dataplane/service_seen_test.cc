// What is told of services: the flows, packets and bytes of their backends, lists, traces.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "flow_listing.h"
#include "service_bench.h"
#include "service_traffic.h"
#include "trace.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

/// What is told of services, by "apps/web/main", without walking through the API.
class ServicesSeen : public Services {
protected:
    struct Seen {
        std::uint64_t flows = 0;
        std::uint64_t refused = 0;
        std::map<std::string, dataplane::BackendTraffic> backends;  ///< by address
    };
    std::map<std::string, Seen> seen(const char* only = nullptr) {
        std::map<std::string, Seen> all;
        const auto name = only == nullptr ? std::nullopt : dataplane::service_name(only);
        bench.dataplane().visit_services(name, [&](const dataplane::ServiceTraffic& traffic) {
            auto& one = all[traffic.config->name];
            one.flows = traffic.flows;
            one.refused = traffic.refused;
            for (std::size_t i = 0; i < traffic.backends.size(); ++i)
                one.backends[traffic.config->backends[i].address.to_string()] = traffic.backends[i];
        });
        return all;
    }
    /// The services of the flows that a filter lets through.
    std::multiset<std::string> listed(std::optional<dataplane::ServiceName> only = {}) {
        dataplane::FlowFilter filter;
        filter.service = std::move(only);
        std::multiset<std::string> services;
        auto& router = bench.dataplane();
        dataplane::list_flows(router.flows(), router.flow_names(), filter, {}, 1000,
                              [&](const auto& flow) { services.emplace(flow.service); });
        EXPECT_EQ(dataplane::count_flows(router.flows(), router.flow_names(), filter).flows, services.size());
        return services;
    }
    std::string traced(const std::string& port, const PacketSpec& spec, const char* from, const char* to) {
        dataplane::TraceRequest request;
        request.port = port;
        request.frame = routed(spec, to, from);
        std::string text;
        for (const auto& line : bench.dataplane().trace(request).why)
            text += line.text + "\n";
        return text;
    }
};

TEST_F(ServicesSeen, BackendsHaveTheirConnectionsAndWhatWentBothWays) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80), at(kCluster6, 80)};
    web.backends = {backend("10.0.0.2", 8080), backend("fd00::2", 8080)};
    service("idle").frontends = {at(kCluster, 81)};
    apply();
    for (std::uint16_t port = 1; port <= 3; ++port) {
        pass("up", {"198.51.100.7", kCluster, kUdp, port, 80}, "pod");
        pass("up", {"198.51.100.7", kCluster, kUdp, port, 80}, "pod");
        pass("pod", {"10.0.0.2", "198.51.100.7", kUdp, 8080, port}, "up");
    }
    pass("up", {"2001:db8:1::7", kCluster6, kUdp, 1, 80}, "pod");
    pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1, 80}, "peer");
    PacketSpec syn{"198.51.100.7", kCluster, kTcp, 1234, 81};
    pass("up", syn, "up");
    auto all = seen();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all["web"].flows, 4U);
    EXPECT_EQ(all["web"].refused, 0U);
    EXPECT_EQ(all["idle"].refused, 1U);
    const auto& four = all["web"].backends["10.0.0.2"];
    EXPECT_EQ(four.connections, 3U);
    EXPECT_EQ(four.tx_packets, 6U);
    EXPECT_EQ(four.rx_packets, 3U);
    EXPECT_EQ(four.tx_bytes, 2 * four.rx_bytes);
    EXPECT_GT(four.rx_bytes, 0U);
    EXPECT_EQ(all["web"].backends["fd00::2"].connections, 1U);
    EXPECT_EQ(all["web"].backends["fd00::2"].rx_packets, 0U);
    EXPECT_EQ(seen("apps/web").size(), 1U);
    EXPECT_EQ(seen("apps/web/main").size(), 1U);
    EXPECT_TRUE(seen("apps/web/other").empty());
    const auto sums = bench.dataplane().service_sums(2);
    EXPECT_EQ(sums.services, 2U);
    EXPECT_EQ(sums.flows, 4U);
    EXPECT_EQ(sums.refused, 1U);
    ASSERT_EQ(sums.each.size(), 2U);
    EXPECT_EQ(sums.each[1].label, "apps/web/main");
    EXPECT_TRUE(bench.dataplane().service_sums(1).each.empty());
    // One that drains keeps what it has; one that is gone is not told of.
    auto& changed = service("web", Transport::udp);
    changed.backends[0].draining = true;
    changed.backends.pop_back();
    apply();
    all = seen();
    EXPECT_EQ(all["web"].flows, 4U) << "a change forgets nothing";
    EXPECT_EQ(all["web"].backends.size(), 1U);
    EXPECT_EQ(all["web"].backends["10.0.0.2"].connections, 3U);
}

// A masquerade's rule stands in the flow then, in place of the service's.
TEST_F(ServicesSeen, FlowsWhoseSourceIsMasqueradedAreTheServicesToo) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("192.0.2.254", 8080, false)};
    masquerade("pods", "10.0.0.0/24");
    apply();
    ASSERT_EQ(pass("pod", {"10.0.0.2", kCluster, kUdp, 1234, 80}, "up"),
              one("udp 192.0.2.1:1234 > 192.0.2.254:8080 ttl 63"));
    EXPECT_EQ(seen()["web"].backends["192.0.2.254"].connections, 1U);
    EXPECT_EQ(listed(), (std::multiset<std::string>{"apps/web/main"}));
}

TEST_F(ServicesSeen, FlowsAreListedByService) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 8080)};
    auto& dns = service("dns", Transport::udp);
    dns.frontends = {at(kCluster, 53)};
    dns.backends = {backend("10.0.0.2", 53)};
    forward("one", Transport::udp, "192.0.2.1", 90, 90, "10.0.0.2", 91);
    apply();
    for (std::uint16_t port = 1; port <= 3; ++port)
        pass("up", {"198.51.100.7", kCluster, kUdp, port, 80}, "pod");
    pass("up", {"198.51.100.7", kCluster, kUdp, 1, 53}, "pod");
    pass("up", {"198.51.100.7", "192.0.2.1", kUdp, 1, 90}, "pod");
    pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1, 80}, "peer");
    EXPECT_EQ(listed(), (std::multiset<std::string>{"", "", "apps/dns/main", "apps/web/main", "apps/web/main",
                                                    "apps/web/main"}));
    EXPECT_EQ(listed(dataplane::service_name("apps/web")).size(), 3U);
    EXPECT_EQ(listed(dataplane::service_name("apps/dns/main")).size(), 1U);
    EXPECT_THROW(listed(dataplane::service_name("apps/dns/other")), Refused);
    dataplane::FlowFilter filter;
    filter.service = dataplane::service_name("apps/web");
    auto& router = bench.dataplane();
    EXPECT_EQ(dataplane::flush_flows(router.flows(), router.flow_names(), filter), 3U);
    EXPECT_EQ(listed(), (std::multiset<std::string>{"", "", "apps/dns/main"}));
}

TEST_F(ServicesSeen, ATraceNamesTheServiceAndWhy) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 8080)};
    apply();
    const PacketSpec query{"198.51.100.7", kCluster, kUdp, 1234, 80};
    const PacketSpec answer{"10.0.0.2", "198.51.100.7", kUdp, 8080, 1234};
    auto text = traced("up", query, kWorld, kOut);
    EXPECT_NE(text.find("apps/web/main to 10.0.0.2 port 8080, chosen by maglev of 1 backend"),
              std::string::npos)
        << text;
    EXPECT_EQ(seen()["web"].flows, 0U) << "a trace is nobody's flow";
    pass("up", query, "pod");
    text = traced("up", query, kWorld, kOut);
    EXPECT_NE(text.find("kept for apps/web/main: 10.0.0.2 port 8080"), std::string::npos) << text;
    text = traced("pod", answer, kPod, kIn);
    EXPECT_NE(text.find("kept for apps/web/main: "), std::string::npos) << text;
    pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1, 80}, "peer");
    text = traced("up", {"198.51.100.7", "10.0.0.3", kUdp, 1, 80}, kWorld, kOut);
    EXPECT_NE(text.find("kept for the flow: "), std::string::npos) << text;
}

}  // namespace
}  // namespace viaduct::test
