// Networks: what a wish becomes, what is refused with both names, and what is left of a network at each
// point.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "docker/pools.h"
#include "docker/reading.h"
#include "fake_dataplane.h"
#include "network/networks.h"
#include "reconcile/config_changes.h"
#include "store/config_history.h"

namespace viaduct::network {
namespace {

using testing::FakeDataplane;
using testing::PrivateNamespace;
using testing::TemporaryDirectory;

std::vector<store::Migration> all_migrations() {
    auto all = store::config_migrations();
    for (const auto* more : {&ipam::migrations(), &pod::migrations(), &migrations(), &docker::migrations()})
        all.insert(all.end(), more->begin(), more->end());
    return all;
}

/// One life of control; a new one on the same directory is a restart.
struct Control {
    explicit Control(const TemporaryDirectory& directory)
        : database(directory.path("viaduct.db"), all_migrations()),
          networks(database),
          not_pods(configuration, networks),
          attachments({.run_dir = directory.path("run"), .patience = std::chrono::milliseconds(1000)},
                      database, not_pods) {
        attachments.recover();
        reconcile::Options options;
        options.dataplane_socket = directory.path("dataplane.sock");
        reconciler = std::make_unique<reconcile::Reconciler>(
            options, database,
            std::vector<const reconcile::DesiredSource*>{&configuration, &networks, &attachments});
        attachments.use(*reconciler);
        networks.use(*reconciler, attachments);
        reconciler->start();
        for (int i = 0; i < 1000 && !reconciler->status().connected; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }

    store::Database database;
    reconcile::ConfigSource configuration;
    Networks networks;
    Together not_pods;
    pod::Attachments attachments;
    std::unique_ptr<reconcile::Reconciler> reconciler;
};

Wanted wish(const std::string& text) {
    Faults faults;
    auto wanted = wanted_from_json(parse_json(text, "wish"), faults);
    if (!faults.empty()) throw Refused(faults);
    return wanted;
}

template <typename Work>
std::string refusal(const Work& work) {
    try {
        work();
    } catch (const std::exception& error) {
        return error.what();
    }
    return "accepted";
}

bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

struct NetworksTest : ::testing::Test {
    TemporaryDirectory directory;
    FakeDataplane dataplane{directory.path("dataplane.sock")};
    std::optional<Control> control;
    PrivateNamespace ns{directory, "ns1"};

    void SetUp() override { control.emplace(directory); }
    Networks::Outcome create(const std::string& text) {
        return control->networks.create(wish(text), false, "");
    }
    attachment::Attached attach(const std::string& network, const std::string& container,
                                const std::string& ifname = "eth0") {
        attachment::Request request;
        request.key = {"", container, ifname};
        request.netns = ns.path();
        return control->networks.attach(network, request, node::Namespace::open(ns.path()));
    }
};

TEST(Network, IsTheSameAfterItsJson) {
    auto wanted = wish(
        R"({"name": "shop", "driver": "routed", "mtu": 1400, "masquerade": false, "isolated": false, "subnets":
        ["10.1.0.0/24", {"subnet": "fd00::/64", "gateway": "fd00::9", "range": "fd00::8000/113"}]})");
    Faults faults;
    complete(wanted.network, faults);
    EXPECT_EQ(to_string(faults), "");
    wanted.network.foreign_id = "abc";
    wanted.network.created = 7;
    EXPECT_EQ(network_from_json(to_json(wanted.network), faults), wanted.network);
    EXPECT_EQ(to_string(faults), "");
    EXPECT_EQ(wanted.network.subnets[0].gateway, IpAddress::parse("10.1.0.1"));
    EXPECT_EQ(wanted.network.subnets[1].gateway, IpAddress::parse("fd00::9"));
}

TEST(Network, AsksForItsPods) {
    Faults faults;
    auto network = wish(R"({"name": "a", "subnets": ["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"]})").network;
    complete(network, faults);
    auto request = request_of(network);
    ASSERT_EQ(request.ranges.size(), 2U);  // one address of each family
    EXPECT_EQ(attachment::to_string(request.ranges[0][0]), "10.1.0.1-10.1.0.254");
    EXPECT_EQ(request.ranges[0].size(), 2U);
    EXPECT_EQ(request.routes.size(), 2U);
    EXPECT_TRUE(request.gateway && request.masquerade && request.guarded && !request.routed);
    EXPECT_EQ(interface_of(network)->addresses.size(), 3U);

    network = wish(R"({"name": "a", "driver": "wire", "subnets": ["10.1.0.0/31"]})").network;
    complete(network, faults);
    request = request_of(network);
    EXPECT_TRUE(request.wire && !request.gateway && !request.masquerade && !request.guarded);
    EXPECT_EQ(attachment::to_string(request.ranges[0][0]), "10.1.0.0-10.1.0.1");
    EXPECT_TRUE(bridge_of(network).wire);
    EXPECT_FALSE(interface_of(network));

    network = wish(R"({"name": "a", "internal": true, "subnets": ["10.1.0.0/24"]})").network;
    complete(network, faults);
    EXPECT_FALSE(interface_of(network));
    EXPECT_FALSE(request_of(network).gateway);
    EXPECT_EQ(to_string(faults), "");
}

TEST_F(NetworksTest, IsThereUntilItIsRemoved) {
    EXPECT_EQ(create(R"({"name": "shop", "ipv6": true})").note, "");
    const auto made = control->networks.get("shop");
    ASSERT_EQ(made.subnets.size(), 2U);
    EXPECT_EQ(made.subnets[0].prefix.to_string(), "10.210.0.0/24");
    EXPECT_EQ(made.subnets[1].prefix.to_string(), "fd76:6961:6475::/64");
    EXPECT_TRUE(dataplane.config().interfaces.contains("shop"));
    EXPECT_EQ(create(R"({"name": "other"})").network.subnets[0].prefix.to_string(), "10.210.1.0/24");
    control.reset();
    control.emplace(directory);
    EXPECT_EQ(control->networks.get("shop"), made);
    control->networks.remove("shop", "");
    EXPECT_FALSE(dataplane.config().bridges.contains("shop"));
    EXPECT_TRUE(says(refusal([&] { (void)control->networks.get("shop"); }), "does not exist"));
    EXPECT_EQ(create(R"({"name": "third"})").network.subnets[0].prefix.to_string(), "10.210.0.0/24");
    store::Transaction tx(control->database);
    EXPECT_EQ(store::history(tx, 10).size(), 4U);
}

TEST_F(NetworksTest, RefusedByTheDataplaneLeavesNothing) {
    dataplane.before = [](const model::Change& change) {
        return change.put.bridges.empty() ? Faults{} : Faults{{"bridges/shop", "is one too many"}};
    };
    EXPECT_TRUE(says(refusal([&] { create(R"({"name": "shop"})"); }), "one too many"));
    EXPECT_TRUE(control->networks.list().empty());
    dataplane.before = nullptr;
    control.reset();
    control.emplace(directory);
    EXPECT_TRUE(control->networks.list().empty());
    EXPECT_EQ(create(R"({"name": "shop"})").note, "");
}

TEST_F(NetworksTest, IsKeptForADataplaneThatIsAway) {
    dataplane.stop();
    EXPECT_TRUE(says(create(R"({"name": "shop"})").note, "will be applied"));
    dataplane.start();
    for (int i = 0; i < 1000 && !dataplane.config().bridges.contains("shop"); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(dataplane.config().interfaces.contains("shop"));
}

TEST_F(NetworksTest, ADryRunMakesNothing) {
    control->networks.create(wish(R"({"name": "shop"})"), true, "");
    EXPECT_TRUE(control->networks.list().empty());
    EXPECT_FALSE(dataplane.config().bridges.contains("shop"));
    create(R"({"name": "shop", "subnets": ["10.1.0.0/24"]})");
    EXPECT_TRUE(says(refusal([&] {
                         control->networks.create(wish(R"({"name": "b", "subnets": ["10.1.0.128/25"]})"),
                                                  true, "");
                     }),
                     "10.1.0.0/24 of network shop"));
}

TEST_F(NetworksTest, ARoutedPodIsAHostOfItsOwn) {
    create(R"({"name": "edge", "driver": "routed", "subnets": ["10.1.0.0/24", "fd01::/64"]})");
    const auto attached = attach("edge", "c1");
    ASSERT_EQ(attached.addresses.size(), 2U);
    EXPECT_EQ(attached.addresses[0].address.to_string(), "10.1.0.2/32");
    EXPECT_EQ(attached.addresses[1].address.to_string(), "fd01::2/128");
    // The router keeps the whole network.
    EXPECT_EQ(dataplane.config().interfaces.at("edge").addresses[0].to_string(), "10.1.0.1/24");
    attachment::Expected expected{{"edge", "c1", "eth0"}, attached.mac, {}};
    for (const auto& address : attached.addresses)
        expected.addresses.push_back(address.address);
    control->attachments.check(expected, node::Namespace::open(ns.path()));
    EXPECT_TRUE(says(refusal([&] { control->networks.remove("edge", ""); }), "edge/c1/eth0"));
    control->attachments.remove({"edge", "c1", "eth0"}, std::nullopt);
    control->networks.remove("edge", "");
    EXPECT_EQ(dataplane.config(), model::Config{});
}

TEST_F(NetworksTest, PublishesOtherPortsOfOneThatIsThere) {
    create(R"({"name": "shop", "subnets": ["10.1.0.0/24"]})");
    attach("shop", "c1");
    attach("shop", "c2", "eth1");
    const attachment::Key first{"shop", "c1", "eth0"};
    const auto mapping = [](std::uint16_t host, std::uint16_t count) {
        return attachment::PortMapping{model::Transport::tcp, std::nullopt, host, 80, count};
    };
    control->attachments.publish(first, {mapping(8080, 10)});
    ASSERT_EQ(dataplane.config().port_forwards.size(), 1U);
    EXPECT_EQ(dataplane.config().port_forwards.begin()->second.port_last, 8089);
    EXPECT_TRUE(says(refusal([&] {
                         control->attachments.publish({"shop", "c2", "eth1"}, {mapping(8089, 1)});
                     }),
                     "shop/c1/eth0 has tcp port 8080-8089 at 10.1.0.1"));
    control->attachments.publish(first, {mapping(8085, 1)});
    control->attachments.publish({"shop", "c2", "eth1"}, {mapping(8089, 1)});
    EXPECT_EQ(dataplane.config().port_forwards.size(), 2U);
    dataplane.before = [](const model::Change&) { return Faults{{"port_forwards/x", "is refused"}}; };
    EXPECT_TRUE(says(refusal([&] { control->attachments.publish(first, {mapping(99, 1)}); }), "is refused"));
    dataplane.before = nullptr;
    control->attachments.publish(first, {});
    EXPECT_EQ(dataplane.config().port_forwards.size(), 1U);
    EXPECT_TRUE(says(refusal([&] { control->attachments.publish({"shop", "c9", "eth0"}, {}); }), "is known"));
}

TEST_F(NetworksTest, FindsOutThatNobodyIsThereAnyMore) {
    create(R"({"name": "shop"})");
    attachment::Request request;
    request.key = {"", "c1", "eth0"};
    request.netns = ns.path();
    request.goes_with_namespace = true;
    control->networks.attach("shop", request, node::Namespace::open(ns.path()));
    attach("shop", "c2", "eth1");  // of this one somebody will say so
    EXPECT_TRUE(control->attachments.collect_vanished().empty());
    ns.forget();
    const auto removed = control->attachments.collect_vanished();
    ASSERT_EQ(removed.size(), 1U);
    EXPECT_EQ(removed[0].container, "c1");
    EXPECT_EQ(control->attachments.list().size(), 1U);
}

TEST_F(NetworksTest, PoolsAreCountedAndKept) {
    docker::Pools pools(control->database, [&](bool v4, const std::vector<Prefix>& taken) {
        return control->networks.free_subnet(v4, taken);
    });
    const auto pool = pools.request("s", "10.1.0.0/29", "", false);
    EXPECT_EQ(pools.request("s", "10.1.0.0/29", "", false).id, pool.id);
    EXPECT_NE(pools.request("other", "10.1.0.0/29", "", false).id, pool.id);
    for (int i = 1; i <= 6; ++i)
        EXPECT_EQ(pools.request_address(pool.id, "", "x").to_string(), "10.1.0." + std::to_string(i) + "/29");
    EXPECT_TRUE(says(refusal([&] { pools.request_address(pool.id, "", "x"); }), "no address left"));
    pools.release_address(pool.id, "10.1.0.3");
    pools.release_address(pool.id, "10.1.0.3");
    EXPECT_EQ(pools.request_address(pool.id, "10.1.0.3", "x").to_string(), "10.1.0.3/29");
    pools.release(pool.id);
    EXPECT_TRUE(says(refusal([&] { pools.request_address(pool.id, "10.1.0.3", "x"); }), "x holds it"));
    pools.release(pool.id);
    EXPECT_TRUE(says(refusal([&] { pools.request_address(pool.id, "", "x"); }), "not a pool"));
    pools.release(pool.id);
    EXPECT_EQ(pools.request("s", "", "", true).prefix.to_string(), "fd76:6961:6475::/64");
}

TEST(DockerReading, TakesWhatDockerSends) {
    const auto wanted = docker::read_network(parse_json(R"({"NetworkID": "0123456789abcdef", "IPv6Data": null,
        "IPv4Data": [{"AddressSpace": "x", "Pool": "10.1.0.0/24", "Gateway": "10.1.0.9/24", "AuxAddresses": {}}],
        "Options": {"com.docker.network.enable_ipv6": false, "com.docker.network.generic":
            {"com.docker.network.driver.mtu": "1400", "masquerade": "false"}}, "More": 1})",
                                                        "request"));
    EXPECT_EQ(wanted.network.name, "docker-0123456789ab");
    EXPECT_EQ(wanted.network.mtu, 1400U);
    EXPECT_FALSE(wanted.network.masquerade);
    EXPECT_EQ(wanted.network.subnets.at(0).gateway, IpAddress::parse("10.1.0.9"));
    const auto mappings = docker::read_port_map(parse_json(R"({"Options": {"com.docker.network.portmap": [
        {"Proto": 17, "IP": "", "Port": 53, "HostIP": "0.0.0.0", "HostPort": 5300, "HostPortEnd": 5300}]}})",
                                                           "r"));
    ASSERT_EQ(mappings.size(), 1U);
    EXPECT_EQ(mappings[0], (attachment::PortMapping{model::Transport::udp, std::nullopt, 5300, 53, 1}));
    EXPECT_TRUE(docker::read_port_map(parse_json("{}", "r")).empty());
    const auto endpoint = docker::read_endpoint(parse_json(
        R"({"NetworkID": "a", "EndpointID": "b", "Options": {"viaduct.labels": "app=web,tier=front", "more": 1}})",
        "r"));
    EXPECT_EQ(endpoint.labels, (Labels{{"app", "web"}, {"tier", "front"}}));
    EXPECT_THROW(docker::read_endpoint(parse_json(R"({"Options": {"viaduct.labels": "app"}})", "r")),
                 Refused);
    EXPECT_TRUE(says(refusal([] {
                         docker::read_port_map(parse_json(
                             R"({"Options": {"com.docker.network.portmap": [{"Port": 53}]}})", "r"));
                     }),
                     "name one"));
}

}  // namespace
}  // namespace viaduct::network
