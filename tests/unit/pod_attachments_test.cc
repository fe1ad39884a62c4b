// Attachments from ADD to DEL against a dataplane that makes real interfaces in real namespaces.
#include <fcntl.h>
#include <net/if.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "node/interface.h"
#include "pod/routing.h"
#include "pod_bench.h"

namespace viaduct::pod {
namespace {

TEST_F(PodAttachments, GivesAPodAnInterfaceAndTakesItAway) {
    const auto asked = tap("c1");
    const auto attached = (*control)->add(asked, open());
    ASSERT_EQ(attached.addresses.size(), 1U);
    EXPECT_EQ(attached.addresses[0].address.to_string(), "10.1.0.2/24");
    EXPECT_TRUE(interface_there());
    (*control)->check(expected(asked, attached), open());
    const auto config = dataplane.config();
    EXPECT_TRUE(config.bridges.contains("br0"));
    EXPECT_TRUE(config.ports.contains(attached.port));
    EXPECT_TRUE((*control)->remove(asked.key, open()));
    EXPECT_FALSE(interface_there());
    EXPECT_EQ(dataplane.config(), model::Config{});
    EXPECT_EQ(leases(), 0U);
    EXPECT_FALSE((*control)->remove(asked.key, open())) << "a second DEL is fine";
}

TEST_F(PodAttachments, ConfiguresBothFamiliesAndRoutes) {
    auto asked = tap("c1");
    asked.ranges.push_back({{*Prefix::parse("fd00::/64"), *IpAddress::parse("fd00::2"),
                             *IpAddress::parse("fd00::ff"), IpAddress::parse("fd00::1")}});
    asked.routes.push_back({.destination = *Prefix::parse("::/0")});
    asked.routes.push_back(
        {.destination = *Prefix::parse("192.0.2.0/24"), .gateway = IpAddress::parse("10.1.0.1")});
    asked.mtu = 9000;
    asked.mac = MacAddress::parse("02:00:00:00:00:77");
    const auto attached = (*control)->add(asked, open());
    EXPECT_EQ(attached.mac.to_string(), "02:00:00:00:00:77");
    (*control)->check(expected(asked, attached), open());
}

TEST_F(PodAttachments, GivesAHostAddressAGatewayOutsideOfIt) {
    auto asked = tap("c1");
    asked.ranges = {{{*Prefix::parse("10.9.9.9/32"), *IpAddress::parse("10.9.9.9"),
                      *IpAddress::parse("10.9.9.9"), IpAddress::parse("169.254.1.1")}}};
    const auto attached = (*control)->add(asked, open());
    (*control)->check(expected(asked, attached), open());
}

TEST_F(PodAttachments, FindsWhatHasChanged) {
    const auto asked = tap("c1");
    const auto attached = (*control)->add(asked, open());
    auto wrong = expected(asked, attached);
    wrong.mac = MacAddress::parse("02:00:00:00:00:01");
    std::string message;
    EXPECT_EQ(code_of([&] { (*control)->check(wrong, open()); }, &message), attachment::kCheckFailed);
    EXPECT_NE(message.find("02:00:00:00:00:01"), std::string::npos) << message;
    wrong = expected(asked, attached);
    wrong.addresses.clear();
    EXPECT_EQ(code_of([&] { (*control)->check(wrong, open()); }), attachment::kCheckFailed);
    const PrivateNamespace other(directory, "other");
    const auto elsewhere = node::Namespace::open(other.path());
    EXPECT_EQ(
        code_of([&] { (*control)->check(expected(asked, attached), node::Namespace::open(other.path())); }),
        attachment::kCheckFailed);
    node::remove(*open(), "eth0", alias(asked.key));
    EXPECT_EQ(code_of([&] { (*control)->check(expected(asked, attached), open()); }, &message),
              attachment::kCheckFailed);
    EXPECT_NE(message.find("eth0"), std::string::npos) << message;
    EXPECT_EQ(code_of([&] {
                  (*control)->check({{"pods", "nobody", "eth0"}, {}, {}}, open());
              }),
              attachment::kUnknownContainer);
}

TEST_F(PodAttachments, ReplacesAtASecondAdd) {
    const auto first = (*control)->add(tap("c1"), open());
    const auto second = (*control)->add(tap("c1"), open());
    EXPECT_EQ(first.mac, second.mac) << "the MAC address follows from the key";
    EXPECT_NE(first.addresses, second.addresses) << "an address is not handed out again at once";
    EXPECT_EQ(leases(), 1U);
    EXPECT_TRUE(interface_there());
}

TEST_F(PodAttachments, LeavesNothingOfARefusedAdd) {
    dataplane.before = [](const model::Change& change) {
        return change.put.ports.empty() ? Faults{}
                                        : Faults{{"ports/x", "needs more packet buffers than there are"}};
    };
    EXPECT_THROW((*control)->add(tap("c1"), open()), Refused);
    EXPECT_THROW((*control)->add(vhost("c2"), open()), Refused);
    EXPECT_EQ(leases(), 0U);
    EXPECT_TRUE((*control)->list().empty());
    EXPECT_FALSE(interface_there());
    EXPECT_TRUE(std::filesystem::is_empty(directory.path("run/vhost")));
    dataplane.before = nullptr;
    (*control)->add(tap("c1"), open());
}

TEST_F(PodAttachments, LeavesNothingWhenTheKernelRefuses) {
    auto asked = tap("c1");
    asked.routes = {{.destination = *Prefix::parse("192.0.2.0/24"), .gateway = IpAddress::parse("0.0.0.0")}};
    asked.routes[0].scope = 254;  // the kernel wants a narrower scope for a gateway
    asked.routes[0].gateway = IpAddress::parse("10.1.0.2");
    EXPECT_ANY_THROW((*control)->add(asked, open()));
    EXPECT_EQ(leases(), 0U);
    EXPECT_FALSE(interface_there());
    EXPECT_EQ(dataplane.config(), model::Config{});
}

TEST_F(PodAttachments, SaysThatARangeIsExhaustedAndRecovers) {
    PrivateNamespace more(directory, "ns2");
    for (const char* name : {"c1", "c2", "c3", "c4"}) {
        auto asked = vhost(name);
        (*control)->add(asked, std::nullopt);
    }
    std::string message;
    try {
        (*control)->add(vhost("c5"), std::nullopt);
        ADD_FAILURE() << "five addresses out of four";
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.code(), attachment::kNoAddressLeft);
        EXPECT_NE(std::string(failure.what()).find("10.1.0.2-10.1.0.5"), std::string::npos) << failure.what();
    }
    const Needs needs{"pods", "br0/1", vhost("c5").ranges, {}};
    EXPECT_EQ(code_of([&] { (*control)->status(needs); }), attachment::kNotAvailable);
    (*control)->remove({"pods", "c2", "eth0"}, std::nullopt);
    (*control)->status(needs);
    EXPECT_EQ((*control)->add(vhost("c5"), std::nullopt).addresses[0].address.to_string(), "10.1.0.3/24");
}

TEST_F(PodAttachments, MakesADirectoryForAVhostUserPod) {
    auto asked = vhost("c1");
    asked.device_info_file = directory.path("devinfo/pods/c1.json");
    asked.vhost.permissions = 0770;
    asked.vhost.group = "1234";
    const auto attached = (*control)->add(asked, std::nullopt);
    ASSERT_LE(attached.socket_path.size(), model::kSocketPathMost);
    const auto pod = std::filesystem::path(attached.socket_path).parent_path();
    struct stat status {};
    ASSERT_EQ(::stat(pod.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0770U);
    EXPECT_EQ(status.st_gid, 1234U);
    std::ifstream file(pod / "interface.json");
    const auto described =
        parse_json(std::string(std::istreambuf_iterator<char>(file), {}), "interface.json");
    EXPECT_EQ(described["mode"].asString(), "server");
    EXPECT_EQ(described["socket"].asString(), "vhost.sock");
    EXPECT_EQ(described["mac"].asString(), attached.mac.to_string());
    std::ifstream info(asked.device_info_file);
    const auto device =
        parse_json(std::string(std::istreambuf_iterator<char>(info), {}), "device information");
    EXPECT_EQ(device["type"].asString(), "vhost-user");
    EXPECT_EQ(device["version"].asString(), "1.1.0");
    EXPECT_EQ(device["vhost-user"]["mode"].asString(), "server");
    EXPECT_EQ(device["vhost-user"]["path"].asString(), attached.socket_path);
    (*control)->check(expected(asked, attached), std::nullopt);
    (*control)->remove(asked.key, std::nullopt);
    EXPECT_FALSE(std::filesystem::exists(pod));
    EXPECT_FALSE(std::filesystem::exists(asked.device_info_file));
}

TEST_F(PodAttachments, RefusesADirectoryThatCannotBe) {
    auto asked = vhost("c1");
    asked.vhost.directory = directory.path(std::string(80, 'x'));
    EXPECT_THROW((*control)->add(asked, std::nullopt), Refused);
    asked.vhost.directory = "/proc/no";
    EXPECT_EQ(code_of([&] { (*control)->add(asked, std::nullopt); }), attachment::kIo);
    asked.vhost.directory.clear();
    asked.vhost.owner = "nobody-by-that-name";
    EXPECT_THROW((*control)->add(asked, std::nullopt), Refused);
    EXPECT_EQ(leases(), 0U);
}

TEST_F(PodAttachments, RestoresAddressesAfterTheDataplaneRestarted) {
    const auto asked = tap("c1");
    const auto attached = (*control)->add(asked, open());
    dataplane.stop();
    ASSERT_TRUE(soon([&] { return !interface_there(); }));
    dataplane.start();
    ASSERT_TRUE(
        soon([&] { return code_of([&] { (*control)->check(expected(asked, attached), open()); }) == 0; }));
}

TEST_F(PodAttachments, DeletesWhileTheDataplaneIsAway) {
    const auto asked = tap("c1");
    (*control)->add(asked, open());
    dataplane.stop();
    ASSERT_TRUE(soon([&] { return !control->reconciler().status().connected; }));
    EXPECT_EQ(code_of([&] {
                  (*control)->status({"pods", "br0/1", {}, {}});
              }),
              attachment::kNotAvailableLimited);
    EXPECT_TRUE((*control)->remove(asked.key, std::nullopt));
    EXPECT_EQ(leases(), 0U);
    EXPECT_THROW((*control)->add(asked, open()), http::Unreachable);
    EXPECT_EQ(leases(), 0U);
    dataplane.start();
    ASSERT_TRUE(soon([&] { return control->reconciler().status().in_sync; }));
    EXPECT_EQ(dataplane.config(), model::Config{});
}

TEST_F(PodAttachments, DeletesWhenTheNamespaceIsGone) {
    const auto asked = tap("c1");
    (*control)->add(asked, open());
    ns.forget();
    EXPECT_TRUE((*control)->remove(asked.key, std::nullopt));
    EXPECT_EQ(leases(), 0U);
    EXPECT_TRUE((*control)->list().empty());
}

TEST_F(PodAttachments, RemovesAStrayInterfaceThatItHasForgotten) {
    const auto asked = tap("c1");
    (*control)->add(asked, open());
    control.reset();
    for (const char* file : {"viaduct.db", "viaduct.db-wal", "viaduct.db-shm"}) {
        std::filesystem::remove(directory.path(file));
    }
    control.emplace(directory);
    EXPECT_FALSE((*control)->remove(asked.key, open()));
    EXPECT_FALSE(interface_there());
}

TEST_F(PodAttachments, KeepsANamespaceThatOnlyTheRuntimeCanName) {
    auto asked = tap("c1");
    asked.netns = "/proc/thread-self/ns/net";
    const auto attached = (*control)->add(asked, open());
    const auto record = (*control)->list().at(0);
    EXPECT_TRUE(record.bound);
    EXPECT_EQ(node::Namespace::open(record.netns).inode(), open()->inode());
    (*control)->remove(asked.key, std::nullopt);
    EXPECT_FALSE(std::filesystem::exists(record.netns));
    EXPECT_FALSE(interface_there());
}

TEST_F(PodAttachments, KeepsEverythingOverARestart) {
    const auto asked = tap("c1");
    const auto attached = (*control)->add(asked, open());
    control.reset();
    control.emplace(directory);
    ASSERT_TRUE(soon([&] { return control->reconciler().status().in_sync; }));
    (*control)->check(expected(asked, attached), open());
    EXPECT_NE((*control)->add(vhost("c2"), std::nullopt).addresses, attached.addresses);
}

TEST_F(PodAttachments, TakesBackWhatACrashLeftHalfWay) {
    (*control)->add(tap("c1"), open());
    const auto socket = (*control)->add(vhost("c2"), std::nullopt).socket_path;
    {
        store::Transaction tx(control->database());
        set_state(tx, {"pods", "c1", "eth0"}, State::adding);
        set_state(tx, {"pods", "c2", "eth0"}, State::removing);
        tx.commit();
    }
    control.reset();
    control.emplace(directory);
    EXPECT_TRUE((*control)->list().empty());
    EXPECT_EQ(leases(), 0U);
    EXPECT_FALSE(interface_there());
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(socket).parent_path()));
    ASSERT_TRUE(soon([&] { return dataplane.config() == model::Config{}; }));
}

TEST_F(PodAttachments, CollectsWhatIsNotValid) {
    for (const char* name : {"c1", "c2", "c3"})
        (*control)->add(vhost(name), std::nullopt);
    auto other = vhost("c1");
    other.key.network = "others";
    (*control)->add(other, std::nullopt);
    const auto removed = (*control)->collect("pods", {{"pods", "c2", "eth0"}});
    EXPECT_EQ(removed.size(), 2U);
    EXPECT_EQ((*control)->list().size(), 2U);
    EXPECT_EQ(leases(), 2U);
}

TEST_F(PodAttachments, GivesRequestedAddressesAndRefusesHeldOnes) {
    auto asked = vhost("c1");
    asked.requested = {*IpAddress::parse("10.1.0.4")};
    EXPECT_EQ((*control)->add(asked, std::nullopt).addresses[0].address.to_string(), "10.1.0.4/24");
    auto second = vhost("c2");
    second.requested = asked.requested;
    std::string message;
    EXPECT_EQ(code_of([&] { (*control)->add(second, std::nullopt); }, &message), attachment::kAddressRefused);
    EXPECT_NE(message.find("pods/c1/eth0"), std::string::npos) << message;
    second.requested = {*IpAddress::parse("10.1.0.1")};
    EXPECT_EQ(code_of([&] { (*control)->add(second, std::nullopt); }), attachment::kAddressRefused);
    second.requested = {*IpAddress::parse("10.2.0.1")};
    EXPECT_EQ(code_of([&] { (*control)->add(second, std::nullopt); }), attachment::kAddressRefused);
    second.requested.clear();
    second.mac = (*control)->list().at(0).attached.mac;
    EXPECT_EQ(code_of([&] { (*control)->add(second, std::nullopt); }), attachment::kMacRefused);
    EXPECT_EQ(leases(), 1U);
}

TEST_F(PodAttachments, RecordsDelegationsUntilTheyAreDone) {
    const Key key{"pods", "c1", "eth0"};
    const attachment::Delegation delegation{"host-local", "{}", "/ns", "A=B", "/usr/lib/cni"};
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    http::Descriptor plugin(ends[1]);
    const auto token = (*control)->begin(key, delegation, http::Descriptor(ends[0]));
    EXPECT_EQ(code_of([&] { (*control)->begin(key, delegation, {}); }), attachment::kTryAgain) << "it lives";
    EXPECT_TRUE((*control)->owed("pods").empty());
    plugin = http::Descriptor();  // killed
    ASSERT_EQ((*control)->owed("pods").size(), 1U);
    EXPECT_EQ((*control)->owed("pods")[0].delegation, delegation);
    control.reset();
    control.emplace(directory);
    ASSERT_EQ((*control)->owed("pods").size(), 1U);
    auto asked = vhost("c1");
    asked.ranges.clear();
    asked.addresses = {{*Prefix::parse("10.7.0.2/24"), std::nullopt}};
    asked.token = token;
    (*control)->add(asked, std::nullopt);
    EXPECT_TRUE((*control)->owed("pods").empty()) << "it is an attachment's";
    (*control)->remove(key, std::nullopt);
    ASSERT_EQ((*control)->owed("pods").size(), 1U);
    (*control)->delegations().finish(token);
    EXPECT_TRUE((*control)->owed("pods").empty());
}

TEST_F(PodAttachments, ServesManyAtOnce) {
    std::atomic<int> failures = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
        threads.emplace_back([&, i] {
            try {
                auto asked = vhost("c" + std::to_string(i));
                asked.ranges[0][0].last = *IpAddress::parse("10.1.0.250");
                (*control)->add(asked, std::nullopt);
                if (i % 2 == 0) (*control)->remove(asked.key, std::nullopt);
            } catch (const std::exception&) {
                ++failures;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ((*control)->list().size(), 32U);
    EXPECT_EQ(leases(), 32U);
    EXPECT_EQ(dataplane.config().ports.size(), 32U);
    const auto comparisons = control->reconciler().status().comparisons;
    for (const auto& record : (*control)->list()) {
        threads.emplace_back([&, key = record.request.key] { (*control)->remove(key, std::nullopt); });
    }
    threads.clear();
    EXPECT_EQ(dataplane.config(), model::Config{});
    EXPECT_EQ(control->reconciler().status().comparisons, comparisons) << "nothing had to be repaired";
}

TEST_F(PodAttachments, TellsVlansApart) {
    auto asked = vhost("c1");
    asked.vlan = model::VlanMembership{10, {}};
    asked.requested = {*IpAddress::parse("10.1.0.2")};
    (*control)->add(asked, std::nullopt);
    auto other = vhost("c2");
    other.vlan = model::VlanMembership{20, {}};
    other.requested = asked.requested;
    (*control)->add(other, std::nullopt);
    EXPECT_TRUE(dataplane.config().bridges.at("br0").vlan_filtering);
}

attachment::Request routed(attachment::Request request) {
    request.gateway = request.masquerade = true;
    return request;
}

TEST_F(PodAttachments, TheFirstOfANetworkBringsItsGatewayAndTheLastTakesItAway) {
    const auto first = (*control)->add(routed(vhost("c1")), open());
    const auto second = (*control)->add(routed(vhost("c2")), open());
    auto config = dataplane.config();
    ASSERT_EQ(config.interfaces.size(), 1U);
    const auto& gateway = config.interfaces.begin()->second;
    EXPECT_EQ(gateway.name, gateway_name("pods"));
    EXPECT_EQ(gateway.bridge, "br0");
    EXPECT_EQ(gateway.vlan, 0);
    EXPECT_EQ(gateway.addresses, std::vector{*Prefix::parse("10.1.0.1/24")});
    ASSERT_EQ(config.masquerades.size(), 2U);
    const auto& masquerade = config.masquerades.at(first.port + "-4");
    EXPECT_EQ(masquerade.source.to_string(), "10.1.0.2/32");
    EXPECT_EQ(masquerade.except, std::vector{*Prefix::parse("10.1.0.0/24")});

    (*control)->remove({"pods", "c1", "eth0"}, std::nullopt);
    config = dataplane.config();
    EXPECT_EQ(config.interfaces.size(), 1U);
    EXPECT_EQ(config.masquerades.size(), 1U);
    EXPECT_TRUE(config.masquerades.contains(second.port + "-4"));
    (*control)->remove({"pods", "c2", "eth0"}, std::nullopt);
    EXPECT_EQ(dataplane.config(), model::Config{});
}

TEST_F(PodAttachments, BringsItsGatewayBackAfterARestart) {
    auto asked = routed(vhost("c1"));
    asked.port_mappings = {{.host_port = 8080, .container_port = 80}};
    (*control)->add(asked, open());
    const auto before = dataplane.config();
    EXPECT_EQ(before.port_forwards.size(), 1U);
    control.reset();
    dataplane.stop();
    dataplane.start();
    control.emplace(directory);
    EXPECT_TRUE(soon([&] { return dataplane.config() == before; }));
    (*control)->collect("pods", {});
    EXPECT_TRUE(soon([&] { return dataplane.config() == model::Config{}; }));
}

TEST_F(PodAttachments, PublishesPortsAtTheRoutersAddresses) {
    auto asked = vhost("c1");
    asked.port_mappings = {{.host_port = 8080, .container_port = 80}};
    EXPECT_THROW((*control)->add(asked, open()), Refused);  // at which address?
    EXPECT_EQ(dataplane.config(), model::Config{});
    EXPECT_EQ(leases(), 0U);

    asked.gateway = true;
    const auto attached = (*control)->add(asked, open());
    auto forwards = dataplane.config().port_forwards;
    ASSERT_EQ(forwards.size(), 1U);
    const auto& forward = forwards.begin()->second;
    EXPECT_EQ(forward.address.to_string(), "10.1.0.1");
    EXPECT_EQ(forward.port, 8080);
    EXPECT_EQ(forward.to, attached.addresses[0].address.address);
    EXPECT_EQ(forward.to_port, 80);

    auto other = vhost("c2");
    other.gateway = true;
    other.port_mappings = {
        {.host_address = IpAddress::parse("10.1.0.1"), .host_port = 8080, .container_port = 80}};
    EXPECT_THROW((*control)->add(other, open()), Refused);  // c1 has it
    EXPECT_EQ(dataplane.config().port_forwards, forwards);
    other.port_mappings[0].host_address = IpAddress::parse("192.0.2.7");
    (*control)->add(other, open());
    EXPECT_EQ(dataplane.config().port_forwards.size(), 2U);

    (*control)->remove(asked.key, std::nullopt);
    EXPECT_EQ(dataplane.config().port_forwards.size(), 1U);
    (*control)->remove(other.key, std::nullopt);
    EXPECT_EQ(dataplane.config(), model::Config{});
}

TEST_F(PodAttachments, AGatewayIsOnThePodsVlan) {
    auto asked = routed(vhost("c1"));
    asked.vlan = model::VlanMembership{.untagged = 42, .tagged = {}};
    (*control)->add(asked, open());
    EXPECT_EQ(dataplane.config().interfaces.begin()->second.vlan, 42);
    (*control)->remove(asked.key, std::nullopt);
    asked.vlan = model::VlanMembership{.untagged = 0, .tagged = {{5, 6}}};
    EXPECT_THROW((*control)->add(asked, open()), Refused);
    EXPECT_EQ(dataplane.config(), model::Config{});
}

}  // namespace
}  // namespace viaduct::pod
