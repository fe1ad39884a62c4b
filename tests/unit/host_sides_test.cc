// What the kernel beside a shared interface is to have, worked out from the configuration alone; and the
// objects that stand for a taken interface.
#include <algorithm>

#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "host/sides.h"
#include "host/taken.h"
#include "host/taken_objects.h"

namespace viaduct::host {
namespace {

Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}
IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

model::Interface& add_interface(model::Config& config, const std::string& name, const char* address) {
    config.bridges[name].name = name;
    auto& interface = config.interfaces[name];
    interface.name = interface.bridge = name;
    interface.addresses = {prefix(address)};
    return interface;
}

model::Port& add_host_port(model::Config& config, const std::string& name, const std::string& shared) {
    auto& port = config.ports[name];
    port.name = name;
    port.kind = model::PortKind::tap;
    port.bridge = port.host = shared;
    port.tap.ifname = "vd-" + name;
    return port;
}

model::Config two_networks() {
    model::Config config;
    add_interface(config, "eth1", "192.0.2.2/24");
    add_interface(config, "pods", "10.1.0.1/16");
    add_host_port(config, "host", "eth1");
    return config;
}

bool has_route(const Side& side, const char* destination, std::optional<std::uint32_t> table = {}) {
    return std::ranges::any_of(side.interface.routes, [&](const attachment::Route& route) {
        return route.destination == prefix(destination) && route.table == table;
    });
}

TEST(Sides, HaveTheInterfacesAddressesAndMacAddress) {
    auto config = two_networks();
    const auto sides = sides_of(config);
    ASSERT_EQ(sides.size(), 1U);
    EXPECT_EQ(sides[0].port, "host");
    EXPECT_EQ(sides[0].mac, model::derived_mac("eth1"));
    EXPECT_EQ(sides[0].interface.ifname, "vd-host");
    ASSERT_EQ(sides[0].interface.addresses.size(), 1U);
    EXPECT_EQ(sides[0].interface.addresses[0].address, prefix("192.0.2.2/24"));
    config.ports["host"].up = false;
    EXPECT_TRUE(sides_of(config).empty());
}

TEST(Sides, LeadToWhatLiesBehindTheRouterAndNowhereElse) {
    auto config = two_networks();
    add_interface(config, "blue", "10.9.0.1/24").vrf = "blue";
    add_interface(config, "down", "10.8.0.1/24").up = false;
    const auto route = [&](const char* to, const char* via, const char* interface) {
        model::Route one;
        one.prefix = prefix(to);
        one.next_hops = {{ip(via), interface, 1}};
        config.routes[one.key()] = one;
    };
    route("10.7.0.0/24", "10.1.0.7", "pods");
    route("0.0.0.0/0", "10.1.0.7", "pods");
    route("198.51.100.0/24", "192.0.2.1", "eth1");
    const auto side = sides_of(config).at(0);
    EXPECT_TRUE(has_route(side, "10.1.0.0/16"));
    EXPECT_TRUE(has_route(side, "10.7.0.0/24"));
    EXPECT_EQ(side.interface.routes.size(), 2U);
    EXPECT_EQ(side.interface.routes[0].gateway, ip(kRouter4));
}

TEST(Sides, ShowNoMillionRoutes) {
    auto config = two_networks();
    for (unsigned i = 0; i < 3000; ++i) {
        model::Route one;
        one.prefix =
            prefix(("11." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24").c_str());
        one.next_hops = {{ip("10.1.0.7"), "pods", 1}};
        config.routes[one.key()] = one;
    }
    const auto side = sides_of(config).at(0);
    EXPECT_EQ(side.interface.routes.size(), kNetworksMost);
    EXPECT_EQ(side.left_out, 3000 - (kNetworksMost - 1));
}

TEST(Sides, PublishInOneTableByRulesOfTheNamespacesFirstPort) {
    auto config = two_networks();
    add_interface(config, "eth2", "198.51.100.2/24");
    add_host_port(config, "other", "eth2");
    config.port_forwards["web"] = {"web", "default", model::Transport::tcp, ip("192.0.2.2"),
                                   8080,  8081,      ip("10.1.0.9"),        80};
    config.port_forwards["six"] = {"six", "default", model::Transport::udp, ip("2001:db8::2"),
                                   53,    53,        ip("fd00::9"),         53};
    config.port_forwards["blue"] = {"blue", "blue", model::Transport::tcp, ip("192.0.2.3"),
                                    1,      1,      ip("10.1.0.9"),        1};
    const auto sides = sides_of(config);
    ASSERT_EQ(sides.size(), 2U);
    const std::vector<node::PublishedPlace> expected{
        {model::Transport::tcp, prefix("127.0.0.0/8"), 8080, 8081},
        {model::Transport::tcp, prefix("192.0.2.2/32"), 8080, 8081},
        {model::Transport::udp, prefix("2001:db8::2/128"), 53, 53}};
    EXPECT_EQ(sides[0].published, expected);
    EXPECT_TRUE(has_route(sides[0], "0.0.0.0/0", kPublishedTable));
    EXPECT_TRUE(has_route(sides[0], "::/0", kPublishedTable));
    EXPECT_FALSE(sides[1].published.has_value());
    EXPECT_TRUE(sides[1].interface.routes.empty());
}

/// A service of the VRF "default" that answers from outside at one place.
void add_external(model::Config& config, const std::string& name, const char* address, std::uint16_t port) {
    model::Service service;
    service.namespace_ = "default";
    service.name = name;
    service.vrf = "default";
    model::Frontend frontend;
    frontend.address = ip(address);
    frontend.port = port;
    frontend.external = true;
    service.frontends = {frontend};
    config.services.insert_or_assign(model::ServiceKey(service.key()), service);
}

TEST(Sides, LeadToServicesAddressesThatAreNobodysByRoutes) {
    auto config = two_networks();
    for (unsigned i = 0; i < 3000; ++i) {
        const auto address = "203.0." + std::to_string(113 + i / 200) + "." + std::to_string(i % 200);
        add_external(config, "s" + std::to_string(i), address.c_str(), 80);
    }
    const auto side = sides_of(config).at(0);
    EXPECT_TRUE(side.published->empty());
    EXPECT_TRUE(has_route(side, "203.0.113.0/32"));
    EXPECT_TRUE(has_route(side, "203.0.127.199/32"));
    EXPECT_EQ(side.interface.routes.size(), 3001U);  // and the pods' network
    EXPECT_EQ(side.left_out, 0U);
}

TEST(Sides, AThousandNodePortsAreAFewRulesThatCoverAllOfThem) {
    auto config = two_networks();
    std::set<std::uint16_t> ports{80, 443};
    for (unsigned i = 0; i < 1000; ++i)
        ports.insert(static_cast<std::uint16_t>(30000 + i * 2719 % 2768));
    for (const auto port : ports)
        add_external(config, "s" + std::to_string(port), "192.0.2.2", port);
    const auto side = sides_of(config).at(0);
    ASSERT_TRUE(side.published.has_value());
    EXPECT_EQ(side.published->size(), 2 * kPortRulesMost);  // the address, and those that loop back
    for (const auto port : ports) {
        for (const char* at : {"192.0.2.2/32", "127.0.0.0/8"}) {
            const auto holds = [&](const node::PublishedPlace& place) {
                return place.at == prefix(at) && place.first <= port && port <= place.last;
            };
            EXPECT_EQ(std::ranges::count_if(*side.published, holds), 1) << port << " at " << at;
        }
    }
    for (const auto& place : *side.published) {
        EXPECT_TRUE(place.first >= 30000 || place.first == place.last)
            << "what lies between 443 and 30000 is the node's own";
    }
}

TEST(Sides, FewNodePortsAreRulesOfTheirOwn) {
    auto config = two_networks();
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{30000, 30001, 30005})
        add_external(config, "s" + std::to_string(port), "192.0.2.2", port);
    const std::vector<node::PublishedPlace> expected{
        {model::Transport::tcp, prefix("127.0.0.0/8"), 30000, 30001},
        {model::Transport::tcp, prefix("127.0.0.0/8"), 30005, 30005},
        {model::Transport::tcp, prefix("192.0.2.2/32"), 30000, 30001},
        {model::Transport::tcp, prefix("192.0.2.2/32"), 30005, 30005}};
    EXPECT_EQ(sides_of(config).at(0).published, expected);
}

node::InterfaceState kernel_state() {
    node::InterfaceState state;
    state.mac = MacAddress::parse("02:00:00:00:00:01").value();
    state.mtu = 1400;
    state.up = true;
    state.prefixes = {prefix("192.0.2.2/24"), prefix("2001:db8::2/64")};
    state.gateways = {{prefix("0.0.0.0/0"), ip("192.0.2.1")},
                      {prefix("10.0.0.0/8"), ip("172.16.0.1")},  // not on the link: the kernel's own affair
                      {prefix("192.0.2.77/32"), std::nullopt}};
    return state;
}

TEST(TakenObjects, AreSoundAndGoTogether) {
    TakeRequest request;
    request.interface = "eth1";
    request.queues = 2;
    const auto change = objects_of(request, kernel_state(), {}, "/run/viaduct/uplinks.netns");
    Faults faults;
    auto config = model::apply({}, change, faults);
    model::check(config, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(config.ports.at("eth1").uplink.device, "net_af_packet_eth1,iface=eth1,qpairs=2");
    EXPECT_EQ(config.ports.at("eth1").uplink.netns, "/run/viaduct/uplinks.netns");
    EXPECT_EQ(config.ports.at("eth1-host").host, "eth1");
    EXPECT_EQ(config.interfaces.at("eth1").mtu, 1400U);
    ASSERT_EQ(config.routes.size(), 1U);
    EXPECT_EQ(config.routes.begin()->second.prefix, prefix("0.0.0.0/0"));
    EXPECT_THROW(check_free(config, "eth1"), Refused);
    EXPECT_NO_THROW(check_free(config, "eth2"));
    EXPECT_THROW(check_free({}, "eth 1"), Refused);

    const auto without = model::apply(config, removal_of(config, "eth1"), faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(without, model::Config{});
}

TEST(TakenObjects, GoWithWhateverNeedsThem) {
    TakeRequest request;
    request.interface = "eth1";
    Faults faults;
    auto config = model::apply({}, objects_of(request, kernel_state(), {}, "/ns"), faults);
    auto& masquerade = config.masquerades["m"];
    masquerade.name = "m";
    masquerade.interface = "eth1";
    masquerade.source = prefix("10.0.0.0/8");
    auto& pod = config.ports["pod"];
    pod.name = "pod";
    pod.bridge = "eth1";
    const model::FdbEntry entry{"eth1", 0, MacAddress::parse("02:00:00:00:00:09").value(), "pod", {}};
    config.fdb[entry.key()] = entry;
    add_interface(config, "pods", "10.1.0.1/16");
    const auto left = model::apply(config, removal_with_dependents(config, "eth1"), faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_TRUE(left.ports.empty() && left.fdb.empty() && left.masquerades.empty() && left.routes.empty());
    EXPECT_TRUE(left.interfaces.contains("pods"));
}

}  // namespace
}  // namespace viaduct::host
