// Services through the worker loop: who answers, what is kept, what is refused, in both families.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "service_bench.h"
#include "trace.h"

namespace viaduct::test {
namespace {

using dataplane::Drop;

TEST_F(Services, OneBackendBothWaysInBothFamilies) {
    auto& web = service("web");
    web.frontends = {at(kCluster, 80), at(kCluster6, 80)};
    web.backends = {backend("10.0.0.2", 8080), backend("fd00::2", 8080)};
    apply();
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(pass("up", {"198.51.100.7", kCluster, kTcp, 1234, 80}, "pod"),
                  one("tcp 198.51.100.7:1234 > 10.0.0.2:8080 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "198.51.100.7", kTcp, 8080, 1234}, "up"),
                  one("tcp 10.96.0.10:80 > 198.51.100.7:1234 ttl 63"));
        EXPECT_EQ(pass("up", {"2001:db8:1::7", kCluster6, kTcp, 1234, 80}, "pod"),
                  one("tcp [2001:db8:1::7]:1234 > [fd00::2]:8080 ttl 63"));
        EXPECT_EQ(pass("pod", {"fd00::2", "2001:db8:1::7", kTcp, 8080, 1234}, "up"),
                  one("tcp [fd00:96::a]:80 > [2001:db8:1::7]:1234 ttl 63"));
    }
}

TEST_F(Services, EveryWayOfBalancingUsesAllAndKeepsConnections) {
    using model::Balance;
    for (const auto balance :
         {Balance::maglev, Balance::random, Balance::round_robin, Balance::least_connections}) {
        auto& dns = service("dns", Transport::udp);
        dns.frontends = {at(kCluster, 53)};
        dns.backends = {backend("10.0.0.2", 53), backend("10.0.0.3", 53)};
        dns.balance = balance;
        apply();
        const auto base = static_cast<std::uint16_t>(20000 + 1000 * static_cast<int>(balance));
        const auto first = spread(kCluster, 53, 60, base);
        ASSERT_EQ(first.size(), 2U) << to_string(balance);
        for (const auto& [to, count] : first)
            EXPECT_GT(count, 10) << to << " by " << to_string(balance);
        EXPECT_EQ(spread(kCluster, 53, 60, base), first) << "the same connections again";
        const bool in_turn = balance == Balance::round_robin || balance == Balance::least_connections;
        EXPECT_TRUE(!in_turn || first.at("10.0.0.2:53") == 30) << to_string(balance);
    }
}

TEST_F(Services, LeastConnectionsCountsFlowsThatEnd) {
    auto& dns = service("dns", Transport::udp);
    dns.frontends = {at(kCluster, 53)};
    dns.backends = {backend("10.0.0.2", 53)};
    dns.balance = model::Balance::least_connections;
    apply();
    EXPECT_EQ(spread(kCluster, 53, 40), (std::map<std::string, int>{{"10.0.0.2:53", 40}}));
    dns.backends.push_back(backend("10.0.0.3", 53));
    apply();
    // The newcomer gets all until it has as many.
    EXPECT_EQ(spread(kCluster, 53, 40, 30000), (std::map<std::string, int>{{"10.0.0.3:53", 40}}));
    // The first one's flows go with it; it comes back without any.
    dns.backends.erase(dns.backends.begin());
    apply();
    spread(kCluster, 53, 40);
    dns.backends.insert(dns.backends.begin(), backend("10.0.0.2", 53));
    apply();
    EXPECT_EQ(spread(kCluster, 53, 40, 40000), (std::map<std::string, int>{{"10.0.0.2:53", 40}}));
}

// Another source, and so another flow, to the same backend.
TEST_F(Services, LeastConnectionsCountsFlowsWhoseSourceIsTranslatedAnew) {
    auto& dns = service("dns", Transport::udp);
    dns.frontends = {at(kCluster, 53)};
    dns.backends = {backend("10.0.0.2", 53)};
    dns.balance = model::Balance::least_connections;
    apply();
    spread(kCluster, 53, 10);
    auto& rule = change.put.masquerades["m"];
    rule.name = "m";
    rule.source = Prefix::parse("198.51.100.0/24").value();
    apply();
    EXPECT_EQ(spread(kCluster, 53, 10), (std::map<std::string, int>{{"10.0.0.2:53", 10}}));
    dns.backends.push_back(backend("10.0.0.3", 53));
    apply();
    EXPECT_EQ(spread(kCluster, 53, 10, 30000), (std::map<std::string, int>{{"10.0.0.3:53", 10}}));
}

// What is read of many services is fetched for a whole burst, of all kinds.
TEST_F(Services, ABurstToManyServicesFindsEachItsOwn) {
    constexpr std::uint16_t kServices = 120;
    const auto backend_port = [](std::uint16_t number) { return static_cast<std::uint16_t>(5000 + number); };
    for (std::uint16_t number = 1; number <= kServices; ++number) {
        auto& dns = service(("dns-" + std::to_string(number)).c_str(), Transport::udp);
        dns.frontends = {at(kCluster, number), at(kCluster6, number)};
        dns.balance = static_cast<model::Balance>(number % 4);
        if (number % 5 != 0) dns.backends = {backend("10.0.0.2", backend_port(number))};
        if (number % 7 != 0) dns.backends.push_back(backend("fd00::2", backend_port(number)));
    }
    apply();
    std::vector<Bytes> burst;
    std::multiset<std::string> wanted;
    const auto add = [&](const char* from, const char* to, std::uint16_t number, const std::string& arrives) {
        burst.push_back(routed({from, to, kUdp, 1234, number}, kOut, kWorld));
        if (!arrives.empty())
            wanted.insert("udp " + arrives + ":" + std::to_string(backend_port(number)) + " ttl 63");
    };
    for (std::uint16_t number = 1; number <= kServices; ++number) {
        add("198.51.100.7", kCluster, number, number % 5 != 0 ? "198.51.100.7:1234 > 10.0.0.2" : "");
        add("2001:db8:1::7", kCluster6, number, number % 7 != 0 ? "[2001:db8:1::7]:1234 > [fd00::2]" : "");
        if (number % 10 == 0)
            burst.push_back(routed({"198.51.100.7", "10.0.0.3", kUdp, 7, number}, kOut, kWorld));
    }
    ASSERT_TRUE(bench.wire("up").inject(0, burst));
    const auto got = collect("pod");
    EXPECT_EQ(std::multiset<std::string>(got.begin(), got.end()), wanted);
    EXPECT_EQ(collect("peer").size(), kServices / 10U);
    EXPECT_EQ(bench.drops("up", Drop::no_endpoint), 24U + 17U);
}

TEST_F(Services, WeightsShareInProportion) {
    using model::Balance;
    for (const auto balance : {Balance::maglev, Balance::random, Balance::round_robin}) {
        auto& dns = service("dns", Transport::udp);
        dns.frontends = {at(kCluster, 53)};
        dns.backends = {backend("10.0.0.2", 53), backend("10.0.0.3", 53)};
        dns.backends[1].weight = 3;
        dns.balance = balance;
        apply();
        auto got =
            spread(kCluster, 53, 400, static_cast<std::uint16_t>(2000 + 1000 * static_cast<int>(balance)));
        EXPECT_NEAR(got["10.0.0.3:53"], 300, 45) << to_string(balance);
    }
}

TEST_F(Services, AnEndpointThatGoesTakesItsFlowsWithIt) {
    auto& dns = service("dns", Transport::udp);
    dns.frontends = {at(kCluster, 53)};
    dns.backends = {backend("10.0.0.2", 53), backend("10.0.0.3", 53)};
    apply();
    auto before = spread(kCluster, 53, 40);
    ASSERT_EQ(before.size(), 2U);
    dns.backends.erase(dns.backends.begin());
    apply();
    EXPECT_EQ(spread(kCluster, 53, 40), (std::map<std::string, int>{{"10.0.0.3:53", 40}}));
    // A service that goes leaves nothing that is translated: its address is nobody's.
    change.put.services.clear();
    change.delete_services = {{"apps", "dns", "main"}};
    apply();
    EXPECT_TRUE(spread(kCluster, 53, 40).empty());
}

TEST_F(Services, DrainingKeepsConnectionsAndGetsNoNewOnes) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 80), backend("10.0.0.3", 80)};
    apply();
    const auto before = spread(kCluster, 80, 40);
    ASSERT_EQ(before.size(), 2U);
    web.backends[0].draining = true;
    apply();
    EXPECT_EQ(spread(kCluster, 80, 40), before) << "those that it had";
    EXPECT_EQ(spread(kCluster, 80, 40, 30000), (std::map<std::string, int>{{"10.0.0.3:80", 40}}));
    // When all drain, better one of those than nobody.
    web.backends[1].draining = true;
    apply();
    EXPECT_EQ(spread(kCluster, 80, 40, 40000).size(), 2U);
}

/// A client that uses its port again while the flow of the last connection is still kept.
TEST_F(Services, AConnectionAfterOneThatIsOverIsANewOne) {
    constexpr std::uint8_t kFin = 1;
    constexpr std::uint8_t kSyn = 2;
    constexpr std::uint8_t kReset = 4;
    constexpr std::uint8_t kAck = 16;
    auto& web = service("web");
    web.frontends = {at(kCluster, 80), at(kCluster6, 80)};
    const auto take_turns = [&](const char* draining, const char* ready) {
        web.backends = {backend(draining, 80), backend(ready, 80)};
        web.backends[0].draining = true;
        std::ranges::sort(web.backends);
        apply();
    };
    struct Ends {
        const char* client;
        const char* service;
        const char* first;
        const char* second;
    };
    for (const auto& [client, cluster, first, second] :
         {Ends{"198.51.100.7", kCluster, "10.0.0.2", "10.0.0.3"},
          Ends{"2001:db8:1::7", kCluster6, "fd00::2", "fd00::3"}}) {
        const auto from_client = [&](std::uint8_t flags, const char* to) {
            PacketSpec spec{client, cluster, kTcp, 1234, 80};
            spec.tcp_flags = flags;
            return pass("up", spec, to).size();
        };
        const auto from_server = [&](const char* server, const char* port, std::uint8_t flags) {
            PacketSpec spec{server, client, kTcp, 80, 1234};
            spec.tcp_flags = flags;
            return pass(port, spec, "up").size();
        };
        web.backends = {backend(first, 80)};
        apply();
        ASSERT_EQ(from_client(kSyn, "pod"), 1U);
        ASSERT_EQ(from_server(first, "pod", kSyn | kAck), 1U);
        ASSERT_EQ(from_client(kAck, "pod"), 1U);
        take_turns(first, second);
        EXPECT_EQ(from_client(kAck, "pod"), 1U) << "the connection goes on";
        EXPECT_EQ(from_client(kSyn, "pod"), 1U) << "a SYN that comes late opens nothing while it does";
        ASSERT_EQ(from_server(first, "pod", kFin | kAck), 1U);
        EXPECT_EQ(from_client(kSyn, "pod"), 1U) << "nor while one side has closed";
        ASSERT_EQ(from_client(kFin | kAck, "pod"), 1U);
        EXPECT_EQ(from_client(kAck, "pod"), 1U) << "the last of the old one";
        EXPECT_EQ(from_client(kSyn, "peer"), 1U) << "the next connection, in " << second;
        EXPECT_EQ(from_server(second, "peer", kReset | kAck), 1U);
        take_turns(second, first);
        EXPECT_EQ(from_client(kSyn, "pod"), 1U) << "and after one that was reset";
    }
}

TEST_F(Services, WithoutEndpointsItRefusesAtOnce) {
    service("web").frontends = {at(kCluster, 80)};
    service("dns", Transport::udp).frontends = {at(kCluster, 53), at(kCluster6, 53)};
    apply();
    PacketSpec syn{"198.51.100.7", kCluster, kTcp, 1234, 80};
    syn.tcp_flags = 0x02;
    const auto reset = pass("up", syn, "up");
    ASSERT_EQ(reset.size(), 1U);
    EXPECT_TRUE(reset[0].starts_with("tcp 10.96.0.10:80 > 198.51.100.7:1234")) << reset[0];
    EXPECT_EQ(pass("up", {"198.51.100.7", kCluster, kUdp, 1234, 53}, "up").size(), 1U);
    EXPECT_EQ(pass("up", {"2001:db8:1::7", kCluster6, kUdp, 1234, 53}, "up").size(), 1U);
    EXPECT_EQ(bench.drops("up", Drop::no_endpoint), 3U);
}

TEST_F(Services, LocalOnlyFrontendsAskBackendsOfThisNode) {
    change.put.ports["up"].kind = model::PortKind::uplink;
    auto& web = service("web", Transport::udp);
    auto external = at("192.0.2.1", 30080);
    external.external = external.local_only = true;
    web.frontends = {at(kCluster, 80), external};
    web.backends = {backend("10.0.0.2", 80), backend("10.0.0.3", 80, false)};
    apply();
    EXPECT_EQ(spread(kCluster, 80, 40).size(), 2U);
    EXPECT_EQ(spread("192.0.2.1", 30080, 40, 30000), (std::map<std::string, int>{{"10.0.0.2:80", 40}}));
    web.backends = {backend("10.0.0.3", 80, false)};
    apply();
    EXPECT_TRUE(spread("192.0.2.1", 30080, 4, 40000).empty());
    EXPECT_EQ(bench.drops("up", Drop::no_local_endpoint), 4U);
    EXPECT_TRUE(collect("up").empty()) << "nothing is said";
}

TEST_F(Services, ThoseInsideComeToAnyBackendByAnExternalAddress) {
    change.put.ports["up"].kind = model::PortKind::uplink;
    auto& web = service("web", Transport::udp);
    auto external = at("203.0.113.80", 80);
    external.external = external.local_only = true;
    web.frontends = {external};
    web.backends = {backend("192.0.2.254", 8080, false)};
    apply();
    const PacketSpec query{"10.0.0.2", "203.0.113.80", kUdp, 1234, 80};
    const PacketSpec answer{"192.0.2.254", "10.0.0.2", kUdp, 8080, 1234};
    ASSERT_EQ(pass("pod", query, "up"), one("udp 10.0.0.2:1234 > 192.0.2.254:8080 ttl 63"));
    ASSERT_EQ(pass("up", answer, "pod"), one("udp 203.0.113.80:80 > 10.0.0.2:1234 ttl 63"));
    // An answer that is the first packet after a change is one still.
    web.backends.push_back(backend("192.0.2.253", 8080, false));
    std::ranges::sort(web.backends);
    apply();
    EXPECT_EQ(pass("up", answer, "pod"), one("udp 203.0.113.80:80 > 10.0.0.2:1234 ttl 63"));
    EXPECT_EQ(pass("pod", query, "up"), one("udp 10.0.0.2:1234 > 192.0.2.254:8080 ttl 63"));
    EXPECT_TRUE(pass("up", {"198.51.100.7", "203.0.113.80", kUdp, 1234, 80}, "up").empty());
    EXPECT_EQ(bench.drops("up", Drop::no_local_endpoint), 1U);
}

TEST_F(Services, BackendsElsewhereSeeTheNode) {
    auto& web = service("web");
    auto node_port = at("192.0.2.1", 30080);
    node_port.external = true;
    web.frontends = {at(kCluster, 80), node_port};
    web.backends = {backend("10.0.0.2", 8080, false)};
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("up", {"198.51.100.7", "192.0.2.1", kTcp, 1234, 30080}, "pod"),
                  one("tcp 10.0.0.1:1234 > 10.0.0.2:8080 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "10.0.0.1", kTcp, 8080, 1234}, "up"),
                  one("tcp 192.0.2.1:30080 > 198.51.100.7:1234 ttl 63"));
        // By the cluster's own address the client stays who it is.
        EXPECT_EQ(pass("up", {"198.51.100.7", kCluster, kTcp, 2345, 80}, "pod"),
                  one("tcp 198.51.100.7:2345 > 10.0.0.2:8080 ttl 63"));
    }
}

TEST_F(Services, ClientsOfRestrictedFrontends) {
    auto& web = service("web");
    auto balancer = at("203.0.113.80", 80);
    balancer.external = balancer.restricted = true;
    web.frontends = {balancer};
    web.backends = {backend("10.0.0.2", 8080)};
    web.allow_from = {Prefix::parse("198.51.100.0/25").value()};
    apply();
    EXPECT_EQ(pass("up", {"198.51.100.7", "203.0.113.80", kTcp, 1234, 80}, "pod"),
              one("tcp 198.51.100.7:1234 > 10.0.0.2:8080 ttl 63"));
    EXPECT_TRUE(pass("up", {"198.51.100.207", "203.0.113.80", kTcp, 1234, 80}, "pod").empty());
    EXPECT_EQ(bench.drops("up", Drop::service_client), 1U);
    // Who may no longer loses what he had.
    web.allow_from = {Prefix::parse("198.51.100.128/25").value()};
    apply();
    EXPECT_TRUE(pass("up", {"198.51.100.7", "203.0.113.80", kTcp, 1234, 80}, "pod").empty());
}

TEST_F(Services, AffinityOutlivesConnectionsAndNewBackends) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 80)};
    web.affinity = 100;
    apply();
    EXPECT_EQ(spread(kCluster, 80, 5), (std::map<std::string, int>{{"10.0.0.2:80", 5}}));
    for (std::uint16_t port = 81; port < 90; ++port)
        web.backends.push_back(backend("10.0.0.3", port));
    apply();
    EXPECT_EQ(spread(kCluster, 80, 30, 30000), (std::map<std::string, int>{{"10.0.0.2:80", 30}}));
    // One that drains is let go of.
    web.backends[0].draining = true;
    apply();
    const auto moved = spread(kCluster, 80, 30, 40000);
    ASSERT_EQ(moved.size(), 1U) << "all to the same other one";
    EXPECT_TRUE(moved.begin()->first.starts_with("10.0.0.3:")) << moved.begin()->first;
}

TEST_F(Services, HairpinToOneself) {
    auto& web = service("web");
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 8080)};
    apply();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(pass("pod", {"10.0.0.2", kCluster, kTcp, 3456, 80}, "pod"),
                  one("tcp 10.0.0.1:3456 > 10.0.0.2:8080 ttl 63"));
        EXPECT_EQ(pass("pod", {"10.0.0.2", "10.0.0.1", kTcp, 8080, 3456}, "pod"),
                  one("tcp 10.96.0.10:80 > 10.0.0.2:3456 ttl 63"));
    }
}

TEST_F(Services, AServiceThatComesLaterLeavesWhatWorks) {
    apply();
    ASSERT_EQ(pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1234, 53}, "peer").size(), 1U);
    ASSERT_EQ(pass("peer", {"10.0.0.3", "198.51.100.7", kUdp, 53, 1234}, "up").size(), 1U);
    auto& dns = service("dns", Transport::udp);
    dns.frontends = {at("10.0.0.3", 53)};
    dns.backends = {backend("10.0.0.2", 5353)};
    apply();
    EXPECT_EQ(pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1234, 53}, "peer").size(), 1U);
    EXPECT_EQ(pass("up", {"198.51.100.7", "10.0.0.3", kUdp, 1235, 53}, "pod"),
              one("udp 198.51.100.7:1235 > 10.0.0.2:5353 ttl 63"));
}

TEST_F(Services, AChangeConcernsThatServicesFlowsAlone) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 80)};
    apply();
    const PacketSpec out{"198.51.100.7", kCluster, kUdp, 1234, 80};
    const PacketSpec back{"10.0.0.2", "198.51.100.7", kUdp, 80, 1234};
    ASSERT_EQ(pass("up", out, "pod").size(), 1U);
    ASSERT_EQ(pass("pod", back, "up").size(), 1U);
    const auto said = [&] {
        std::string text;
        for (const auto& traced : {bench.dataplane().trace({"up", routed(out, kOut, kWorld)}),
                                   bench.dataplane().trace({"pod", routed(back, kIn, kPod)})}) {
            for (const auto& why : traced.why)
                text += why.text + "\n";
        }
        return text;
    };
    auto& other = service("other", Transport::udp);
    other.frontends = {at("10.96.0.11", 80)};
    other.backends = {backend("10.0.0.3", 80)};
    apply_services();
    EXPECT_EQ(said().find("to be resolved again"), std::string::npos) << said();
    EXPECT_NE(said().find("goes on as it is"), std::string::npos) << said();
    service("web", Transport::udp).backends = {backend("10.0.0.3", 80)};
    apply_services();
    const auto text = said();
    EXPECT_NE(text.find("to be resolved again"), std::string::npos) << text;
    EXPECT_EQ(text.find("goes on as it is"), std::string::npos) << text;
    EXPECT_EQ(pass("up", out, "peer").size(), 1U);
}

TEST_F(Services, ChangesFarAwayDisturbNothing) {
    auto& web = service("web", Transport::udp);
    web.frontends = {at(kCluster, 80)};
    web.backends = {backend("10.0.0.2", 80), backend("10.0.0.3", 80)};
    apply();
    const auto before = spread(kCluster, 80, 40);
    auto& other = service("other");
    other.frontends = {at("10.96.0.11", 80)};
    other.backends = {backend("10.0.0.2", 81)};
    apply();
    EXPECT_EQ(spread(kCluster, 80, 40), before);
    service("web", Transport::udp).backends.push_back(backend("10.0.0.3", 81));
    apply();
    EXPECT_EQ(spread(kCluster, 80, 40), before) << "a backend that comes takes no connection away";
}

}  // namespace
}  // namespace viaduct::test
