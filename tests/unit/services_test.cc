// The picture of services: what is found where, what a change makes anew and what it leaves.
#include "tables/services.h"

#include <chrono>
#include <set>
#include <unordered_map>

#include <gtest/gtest.h>

#include "tables/rule_id.h"

namespace viaduct::dataplane {
namespace {

using model::Transport;

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

IpAddress ip(const std::string& text) {
    return *IpAddress::parse(text);
}

model::Frontend at(const char* address, std::uint16_t port) {
    model::Frontend frontend;
    frontend.address = ip(address);
    frontend.port = port;
    return frontend;
}

model::Backend backend(const char* address, std::uint16_t port) {
    model::Backend backend;
    backend.address = ip(address);
    backend.port = port;
    return backend;
}

/// Zones 3 and, for the VRF red, `red`.
class Built : public testing::Test {
protected:
    model::Service& service(const char* name) {
        auto& one = config.services[{"apps", name, "http"}];
        one.namespace_ = "apps";
        one.name = name;
        one.port = "http";
        return one;
    }
    void build() {
        services =
            builder.build(config, [&](const std::string& vrf) { return vrf == "red" ? red : Zone{3}; });
    }
    /// The label of what is found there; empty: nothing.
    std::string found(const char* address, std::uint16_t port, std::uint8_t protocol = kTcp, Zone zone = 3) {
        const auto match = services->find(zone, protocol, ip(address), port);
        if (!match) return "";
        EXPECT_EQ(match.frontend->address, ip(address));
        EXPECT_EQ(match.frontend->port, port);
        EXPECT_EQ(services->find(match.service->id())->id(), match.service->id());
        return match.service->label();
    }
    const ServiceEntry* entry(const char* address, std::uint16_t port) {
        return services->find(3, kTcp, ip(address), port).service;
    }

    Built() { config.vrfs["red"].name = "red"; }

    model::Config config;
    Zone red = 4;
    ServicesBuilder builder;
    std::shared_ptr<const Services> services;
};

TEST_F(Built, NothingIsFoundWhereNothingIs) {
    build();
    EXPECT_TRUE(services->empty());
    EXPECT_EQ(found("10.96.0.1", 80), "");
    EXPECT_EQ(services->find(1), nullptr);
}

TEST_F(Built, FindsByAddressPortProtocolAndZone) {
    service("web").frontends = {at("10.96.0.1", 80), at("10.96.0.1", 443), at("fd00:96::1", 80)};
    auto& dns = service("dns");
    dns.protocol = Transport::udp;
    dns.frontends = {at("10.96.0.1", 80)};
    auto& other = service("other");
    other.vrf = "red";
    other.frontends = {at("10.96.0.1", 80)};
    build();
    EXPECT_FALSE(services->empty());
    EXPECT_EQ(found("10.96.0.1", 80), "apps/web/http");
    EXPECT_EQ(found("10.96.0.1", 443), "apps/web/http");
    EXPECT_EQ(found("fd00:96::1", 80), "apps/web/http");
    EXPECT_EQ(found("10.96.0.1", 80, kUdp), "apps/dns/http");
    EXPECT_EQ(found("10.96.0.1", 80, kTcp, 4), "apps/other/http");
    EXPECT_EQ(found("10.96.0.1", 81), "");
    EXPECT_EQ(found("10.96.0.2", 80), "");
    EXPECT_EQ(found("10.96.0.1", 443, kUdp), "");
    EXPECT_EQ(found("10.96.0.1", 443, kTcp, 4), "");
    EXPECT_EQ(found("::ffff:10.96.0.1", 80), "") << "IPv4 in disguise is not IPv4";
}

TEST_F(Built, AChangeKeepsCountersAndSharesTheOthers) {
    service("web").frontends = {at("10.96.0.1", 80)};
    service("api").frontends = {at("10.96.0.2", 80)};
    build();
    const auto before = services;
    const auto* api = entry("10.96.0.2", 80);
    const auto* web = entry("10.96.0.1", 80);
    web->counters().flows = 7;
    const auto id = web->id();

    build();
    EXPECT_EQ(services, before) << "nothing has changed";

    service("web").backends = {backend("10.0.0.2", 8080)};
    service("web").frontends.push_back(at("10.96.0.3", 80));
    build();
    EXPECT_NE(services, before);
    EXPECT_EQ(entry("10.96.0.2", 80), api);
    ASSERT_NE(entry("10.96.0.1", 80), nullptr);
    EXPECT_NE(entry("10.96.0.1", 80), web);
    EXPECT_EQ(entry("10.96.0.1", 80), entry("10.96.0.3", 80));
    EXPECT_EQ(entry("10.96.0.1", 80)->id(), id);
    EXPECT_EQ(entry("10.96.0.1", 80)->counters().flows, 7U);
    // Whoever still holds the older picture sees what it has always seen.
    EXPECT_TRUE(before->find(3, kTcp, ip("10.96.0.1"), 80).service->config().backends.empty());
    EXPECT_FALSE(before->find(3, kTcp, ip("10.96.0.3"), 80));
}

TEST_F(Built, WhatGoesIsFoundNoMore) {
    service("web").frontends = {at("10.96.0.1", 80), at("10.96.0.1", 81)};
    service("api").frontends = {at("10.96.0.2", 80)};
    build();
    const auto id = entry("10.96.0.1", 80)->id();
    service("web").frontends = {at("10.96.0.1", 81)};
    build();
    EXPECT_EQ(found("10.96.0.1", 80), "");
    EXPECT_EQ(found("10.96.0.1", 81), "apps/web/http");
    config.services.erase({"apps", "web", "http"});
    build();
    EXPECT_EQ(found("10.96.0.1", 81), "");
    EXPECT_EQ(services->find(id), nullptr);
    EXPECT_EQ(found("10.96.0.2", 80), "apps/api/http");
    config.services.clear();
    build();
    EXPECT_TRUE(services->empty());
}

// In one change a service gives a place up and another one, before it or behind it by name, takes it.
TEST_F(Built, APlaceGoesFromOneServiceToAnother) {
    for (const auto& [from, to] : {std::pair{"a", "b"}, std::pair{"b", "a"}}) {
        service(from).frontends = {at("10.96.0.1", 80)};
        service(to).frontends.clear();
        build();
        ASSERT_EQ(found("10.96.0.1", 80), "apps/" + std::string(from) + "/http");
        service(from).frontends.clear();
        service(to).frontends = {at("10.96.0.1", 80)};
        build();
        EXPECT_EQ(found("10.96.0.1", 80), "apps/" + std::string(to) + "/http");
    }
}

TEST_F(Built, AServiceGoesToAnotherVrfAndAVrfToAnotherZone) {
    service("web").frontends = {at("10.96.0.1", 80)};
    build();
    entry("10.96.0.1", 80)->counters().flows = 3;
    service("web").vrf = "red";
    build();
    EXPECT_EQ(found("10.96.0.1", 80), "");
    EXPECT_EQ(found("10.96.0.1", 80, kTcp, 4), "apps/web/http");
    EXPECT_EQ(services->find(4, kTcp, ip("10.96.0.1"), 80).service->counters().flows, 3U);
    red = 9;
    build();
    EXPECT_EQ(found("10.96.0.1", 80, kTcp, 4), "");
    EXPECT_EQ(found("10.96.0.1", 80, kTcp, 9), "apps/web/http");
    // A VRF that goes with its services is not asked for again.
    config.services.clear();
    config.vrfs.erase("red");
    services = builder.build(config, [](const std::string& vrf) {
        EXPECT_NE(vrf, "red");
        return Zone{3};
    });
    EXPECT_TRUE(services->empty());
}

/// Two names whose services have the same id: among so many there are some.
std::pair<std::string, std::string> two_with_one_id() {
    std::unordered_map<std::uint32_t, std::string> names;
    for (unsigned i = 0;; ++i) {
        const auto name = "s" + std::to_string(i);
        const auto id = (RuleId() << "service"
                                  << "default"
                                  << "apps/" + name + "/http")
                            .get();
        const auto [other, is_new] = names.emplace(id, name);
        if (!is_new) return {other->second, name};
    }
}

TEST_F(Built, TwoServicesWithOneIdDoNotDisturbEachOther) {
    const auto [first, second] = two_with_one_id();
    service(first.c_str()).frontends = {at("10.96.0.1", 80)};
    service(second.c_str()).frontends = {at("10.96.0.2", 80)};
    build();
    ASSERT_EQ(entry("10.96.0.1", 80)->id(), entry("10.96.0.2", 80)->id());
    for (const auto& [changed, stays] : {std::pair{first, second}, std::pair{second, first}}) {
        const auto* place = changed == first ? "10.96.0.1" : "10.96.0.2";
        const auto* other = changed == first ? "10.96.0.2" : "10.96.0.1";
        entry(place, 80)->counters().flows = 5;
        entry(other, 80)->counters().flows = 6;
        service(changed.c_str()).backends.push_back(backend("10.0.0.2", 8080));
        build();
        EXPECT_EQ(found(other, 80), "apps/" + stays + "/http");
        EXPECT_EQ(entry(place, 80)->config().backends.size(), 1U);
        EXPECT_TRUE(entry(place, 80)->counters().flows == 5 && entry(other, 80)->counters().flows == 6);
    }
    config.services.erase({"apps", first, "http"});
    build();
    EXPECT_EQ(found("10.96.0.1", 80), "");
    EXPECT_EQ(found("10.96.0.2", 80), "apps/" + second + "/http");
}

TEST_F(Built, PoolsAreByFamilyAndNodeAndLeaveOutThoseThatDrain) {
    auto& web = service("web");
    web.frontends = {at("10.96.0.1", 80), at("fd00:96::1", 80), at("192.0.2.1", 30080)};
    web.frontends[2].local_only = true;
    web.backends = {backend("10.0.0.2", 80), backend("10.0.0.3", 80), backend("10.0.0.4", 80),
                    backend("fd00::2", 80)};
    web.backends[0].local = true;
    web.backends[2].draining = true;
    build();
    const auto* found = entry("10.96.0.1", 80);
    ASSERT_NE(found, nullptr);
    using Members = std::vector<std::uint16_t>;
    const auto members = [&](bool v4, bool local_only) { return found->pool(v4, local_only).members; };
    EXPECT_EQ(members(true, false), (Members{0, 1}));
    EXPECT_EQ(members(true, true), (Members{0}));
    EXPECT_EQ(members(false, false), (Members{3}));
    EXPECT_EQ(members(false, true), Members{}) << "no frontend asks";
    EXPECT_EQ(found->backend(ip("10.0.0.4"), 80), &found->config().backends[2]) << "draining or not";
    EXPECT_EQ(found->backend(ip("10.0.0.4"), 81), nullptr);
    EXPECT_EQ(found->backend(ip("10.0.0.5"), 80), nullptr);
    // Those that are distant come after those that are not, but where it is the node that counts.
    service("web").backends[0].distant = true;
    build();
    found = entry("10.96.0.1", 80);
    EXPECT_EQ(members(true, false), (Members{1}));
    EXPECT_EQ(members(true, true), (Members{0}));
    service("web").backends[1].draining = true;
    build();
    found = entry("10.96.0.1", 80);
    EXPECT_EQ(members(true, false), (Members{0})) << "before those that drain";
    // When all drain, they are all that there is.
    for (auto& one : service("web").backends)
        one.draining = true;
    build();
    found = entry("10.96.0.1", 80);
    EXPECT_EQ(members(true, false), (Members{0, 1, 2}));
}

/// 10,000 services with three frontends and ten backends each.
void fill(model::Config& config) {
    const auto node = ip("192.0.2.1");
    for (unsigned i = 0; i < 10000; ++i) {
        const auto name = "service-" + std::to_string(i);
        auto& service = config.services[{"apps", name, "http"}];
        service.namespace_ = "apps";
        service.name = name;
        service.port = "http";
        service.frontends.resize(3);
        service.frontends[0].address = *ip("10.96.0.0").plus(i);
        service.frontends[1].address = *ip("fd00:96::").plus(i);
        service.frontends[2].address = node;
        service.frontends[0].port = service.frontends[1].port = 80;
        service.frontends[2].port = static_cast<std::uint16_t>(20000 + i);
        service.frontends[2].external = true;
        service.backends.resize(10);
        for (unsigned b = 0; b < 10; ++b) {
            service.backends[b].address = *ip("10.0.0.0").plus(i * 10 + b);
            service.backends[b].port = 8080;
        }
    }
}

// How long it takes is told, and asked for by perf/ alone.
TEST_F(Built, TenThousandServices) {
    using Clock = std::chrono::steady_clock;
    const auto milliseconds = [](Clock::time_point since) {
        return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
    };
    fill(config);
    auto since = Clock::now();
    build();
    const auto first = milliseconds(since);
    const auto before = services;
    std::set<const ServiceEntry*> entries;
    for (unsigned i = 0; i < 10000; ++i) {
        const auto match = services->find(3, kTcp, *ip("10.96.0.0").plus(i), 80);
        ASSERT_TRUE(match) << i;
        EXPECT_EQ(services->find(3, kTcp, ip("192.0.2.1"), static_cast<std::uint16_t>(20000 + i)).service,
                  match.service);
        EXPECT_EQ(services->find(match.service->id()), match.service);
        entries.insert(match.service);
    }
    EXPECT_EQ(entries.size(), 10000U);
    const model::ServiceKey key{"apps", "service-5000", "http"};
    config.services[key].backends[3].draining = true;
    since = Clock::now();
    build();
    const auto change = milliseconds(since);
    const auto* changed = entry("10.96.19.136", 80);
    ASSERT_NE(changed, nullptr);
    EXPECT_FALSE(entries.contains(changed));
    EXPECT_TRUE(entries.contains(entry("10.96.19.137", 80)));
    RecordProperty("first_build_ms", std::to_string(first));
    RecordProperty("change_ms", std::to_string(change));
    std::printf("10,000 services: the first picture took %.0f ms, one changed endpoint %.2f ms\n", first,
                change);
}

}  // namespace
}  // namespace viaduct::dataplane
