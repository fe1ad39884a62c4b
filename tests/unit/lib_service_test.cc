// Services of the model: their JSON there and back, what is refused, and that a check looks again only at
// what can have come to be wrong.
#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct::model {
namespace {

constexpr const char* kServices = R"({
  "vrfs": [{"name": "blue"}],
  "port_forwards": [{"name": "ssh", "address": "192.0.2.2", "port": 2200, "port_last": 2299, "to": "10.1.0.9",
                     "to_port": 22}],
  "services": [
    {"namespace": "apps", "name": "web", "port": "http",
     "frontends": [{"address": "fd00:96::a", "port": 80}, {"address": "10.96.0.10", "port": 80},
                   {"address": "192.0.2.2", "port": 30080, "external": true, "local_only": true,
                    "restricted": true}],
     "backends": [{"address": "10.1.0.8", "port": 8080, "weight": 3, "local": true, "name": "apps/web-2"},
                  {"address": "10.1.0.7", "port": 8080, "draining": true, "distant": true}],
     "balance": "least-connections", "affinity": 10800, "allow_from": ["198.51.100.0/24", "192.0.2.0/24"]},
    {"namespace": "apps", "name": "web", "port": "https", "vrf": "blue",
     "frontends": [{"address": "10.96.0.10", "port": 80}]},
    {"namespace": "kube-system", "name": "dns", "port": "53", "protocol": "udp", "balance": "round-robin",
     "frontends": [{"address": "10.96.0.10", "port": 80}]}]})";

Config read(const std::string& text, Faults& faults) {
    return config_from_json(parse_json(text, "x"), "", faults);
}

Config services() {
    Faults faults;
    auto config = read(kServices, faults);
    check(config, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    return config;
}

/// What reading alone says of one service with these members.
std::string reading(const std::string& members) {
    Faults faults;
    read(R"({"services": [{"namespace": "apps", "name": "web", "port": "http", )" + members + "}]}", faults);
    return to_string(faults);
}

/// What checking says once these objects were put on top.
std::string faults_with(const std::string& more) {
    auto config = services();
    Faults faults;
    apply_to(config, change_from_json(parse_json(R"({"put": )" + more + "}", "x"), "", faults), faults);
    EXPECT_TRUE(faults.empty()) << more << ": " << to_string(faults);
    check(config, faults);
    return to_string(faults);
}

std::string at(const std::string& address, int port) {
    return R"({"address": ")" + address + R"(", "port": )" + std::to_string(port) + "}";
}

std::string one_service(const std::string& name, const std::string& members) {
    return R"({"services": [{"namespace": "apps", "name": ")" + name + R"(", "port": "http", )" + members +
           "}]}";
}

void expect_in(const std::string& faults, std::initializer_list<const char*> words) {
    for (const auto* word : words)
        EXPECT_NE(faults.find(word), std::string::npos) << word << " is not in: " << faults;
}

TEST(ModelService, ComesBackAsItWent) {
    const auto config = services();
    Faults faults;
    EXPECT_EQ(read(to_json_text(to_json(config)), faults), config);
    for (const auto& change : {difference({}, config), difference(config, {})}) {
        const auto again = change_from_json(parse_json(to_json_text(to_json(change)), "x"), "", faults);
        EXPECT_EQ(to_json_text(to_json(again)), to_json_text(to_json(change)));
    }
    EXPECT_EQ(apply({}, difference({}, config), faults), config);
    EXPECT_EQ(apply(config, difference(config, {}), faults), Config{});
    EXPECT_TRUE(faults.empty()) << to_string(faults);
}

TEST(ModelService, IsSortedAndHasDefaults) {
    const auto config = services();
    const auto& web = config.services.at({"apps", "web", "http"});
    ASSERT_EQ(web.frontends.size(), 3U);
    EXPECT_EQ(web.frontends[0].address.to_string(), "10.96.0.10");
    EXPECT_TRUE(std::ranges::is_sorted(web.frontends));
    EXPECT_TRUE(std::ranges::is_sorted(web.backends));
    EXPECT_TRUE(std::ranges::is_sorted(web.allow_from));
    EXPECT_EQ(web.backends[1].weight, 3U);
    EXPECT_EQ(web.backends[1].name, "apps/web-2");
    EXPECT_TRUE(web.backends[0].draining && web.backends[0].distant && !web.backends[0].local);
    EXPECT_EQ(web.affinity, 10800U);
    const auto& https = config.services.at({"apps", "web", "https"});
    EXPECT_EQ(https.protocol, Transport::tcp);
    EXPECT_EQ(https.balance, Balance::maglev);
    EXPECT_EQ(https.affinity, 0U);
    EXPECT_EQ(config.services.at({"kube-system", "dns", "53"}).vrf, "default");
}

TEST(ModelService, SaysWhatCannotBeRead) {
    expect_in(reading(R"("frontends": [{"address": "10.96.0.1"}])"),
              {"services/0/frontends/0/port", "is required, from 1 to 65535"});
    expect_in(reading(R"("frontends": [{"port": 80}])"), {"services/0/frontends/0/address", "is required"});
    expect_in(reading(R"("frontends": [{"address": "web", "port": 80}])"),
              {"frontends/0/address", "is not an IP address"});
    expect_in(reading(R"("frontends": [{"address": "10.96.0.1", "port": 0}])"),
              {"frontends/0/port", "65535"});
    expect_in(reading(R"("backends": [{"address": "10.1.0.1", "port": 65536}])"), {"backends/0/port"});
    expect_in(reading(R"("backends": [{"address": "10.1.0.1", "port": 1, "weight": 0}])"),
              {"backends/0/weight", "256"});
    expect_in(reading(R"("backends": [{"address": "10.1.0.1", "port": 1, "weight": 257}])"),
              {"backends/0/weight"});
    expect_in(reading(R"("backends": [{"address": "10.1.0.1", "port": 1, "ready": true}])"),
              {"backends/0/\"ready\"", "is not a known key"});
    expect_in(reading(R"("balance": "fair")"), {"services/0/balance", "maglev", "least-connections"});
    expect_in(reading(R"("protocol": "icmp")"), {"services/0/protocol", "tcp", "sctp"});
    expect_in(reading(R"("affinity": 86401)"), {"services/0/affinity", "86400"});
    expect_in(reading(R"("allow_from": ["anywhere"])"), {"services/0/allow_from", "is not a network"});
    expect_in(reading(R"("clusterIP": "10.96.0.1")"), {"services/0/\"clusterIP\"", "is not a known key"});
    Faults faults;
    read(
        R"({"services": [{"name": "web", "port": "http"}, {"namespace": "a b", "name": "web", "port": "http"}]})",
        faults);
    expect_in(to_string(faults), {"services/0/namespace", "services/1/namespace"});
}

TEST(ModelService, APlaceTwiceInOneServiceIsRefused) {
    expect_in(reading(R"("frontends": [)" + at("10.96.0.1", 80) + "," + at("10.96.0.2", 80) + "," +
                      at("10.96.0.1", 80) + "]"),
              {"services/0/frontends", "10.96.0.1 port 80", "twice"});
    // Whatever else is said of them.
    expect_in(reading(R"("backends": [{"address": "10.1.0.1", "port": 80, "weight": 2},
                                      {"address": "10.1.0.1", "port": 80}])"),
              {"services/0/backends", "10.1.0.1 port 80", "twice"});
}

TEST(ModelService, APlaceThatAnotherServiceHasIsRefusedWithBothNames) {
    const auto faults = faults_with(one_service("api", R"("frontends": [)" + at("10.96.0.10", 80) + "]"));
    expect_in(faults, {"apps", "api", "web", "10.96.0.10 port 80 of tcp", "give it another address or port"});
    EXPECT_EQ(faults_with(one_service("api", R"("frontends": [)" + at("10.96.0.10", 81) + "]")), "");
    EXPECT_EQ(faults_with(one_service("api", R"("frontends": [)" + at("10.96.0.11", 80) + "]")), "");
    EXPECT_EQ(
        faults_with(one_service("api", R"("protocol": "sctp", "frontends": [)" + at("10.96.0.10", 80) + "]")),
        "");
}

TEST(ModelService, APlaceThatAPortForwardHasIsRefusedWithBothNames) {
    for (const int port : {2200, 2250, 2299}) {
        const auto faults =
            faults_with(one_service("api", R"("frontends": [)" + at("192.0.2.2", port) + "]"));
        expect_in(faults, {"api", "ssh", "192.0.2.2 port"});
    }
    EXPECT_EQ(faults_with(one_service("api", R"("frontends": [)" + at("192.0.2.2", 2300) + "]")), "");
    EXPECT_EQ(
        faults_with(one_service("api", R"("vrf": "blue", "frontends": [)" + at("192.0.2.2", 2200) + "]")),
        "");
    expect_in(faults_with(R"({"port_forwards": [{"name": "late", "address": "10.96.0.10", "port": 70,
                              "port_last": 90, "to": "10.1.0.9", "to_port": 70}]})"),
              {"late", "web", "10.96.0.10 port 80"});
}

TEST(ModelService, AddressesAreOfHostsAndVrfsExist) {
    for (const char* address :
         {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:10.0.0.1"}) {
        expect_in(faults_with(one_service("api", R"("frontends": [)" + at(address, 80) + "]")),
                  {"api", "frontends", address});
        expect_in(faults_with(one_service("api", R"("backends": [)" + at(address, 80) + "]")),
                  {"api", "backends", address});
    }
    expect_in(faults_with(one_service("api", R"("vrf": "green")")), {"api", "vrf", "green"});
}

/// What is wrong in `before` is not looked at again, which shows what is.
TEST(ModelService, ACheckLooksAgainOnlyAtWhatHasChanged) {
    auto sound = services();
    sound.services[{"apps", "web", "http"}].backends[0].address = *IpAddress::parse("224.0.0.1");
    auto next = sound;
    const auto faults = [&] {
        Faults found;
        check(next, found, &sound);
        return to_string(found);
    };
    EXPECT_EQ(faults(), "");
    // An endpoint that changes elsewhere.
    Backend backend;
    backend.address = *IpAddress::parse("10.1.0.20");
    backend.port = 53;
    next.services[{"kube-system", "dns", "53"}].backends = {backend};
    EXPECT_EQ(faults(), "");
    next.services[{"kube-system", "dns", "53"}].backends[0].address = *IpAddress::parse("127.0.0.1");
    expect_in(faults(), {"dns", "127.0.0.1"});
    next = sound;
    // The one that is wrong, once it has changed.
    next.services[{"apps", "web", "http"}].affinity = 1;
    expect_in(faults(), {"web", "224.0.0.1"});
    next = sound;
    // A place that comes is compared with all others, and with port forwards that stay.
    Frontend frontend;
    frontend.address = *IpAddress::parse("10.96.0.10");
    frontend.port = 80;
    next.services[{"apps", "web", "https"}].vrf = "default";
    expect_in(faults(), {"web", "https", "10.96.0.10 port 80"});
    next = sound;
    frontend.address = *IpAddress::parse("192.0.2.2");
    frontend.port = 2222;
    next.services[{"apps", "web", "https"}].vrf = "default";
    next.services[{"apps", "web", "https"}].frontends = {frontend};
    expect_in(faults(), {"https", "ssh", "2222"});
    next = sound;
    // A port forward that comes over a service that stays.
    next.port_forwards["ssh"].address = *IpAddress::parse("10.96.0.10");
    next.port_forwards["ssh"].port = 80;
    expect_in(faults(), {"ssh", "web", "10.96.0.10 port 80"});
    next = sound;
    // Whoever comes is at fault, wherever his name stands in the order; and of two that come the second.
    const auto come = [&](const char* name) {
        auto late = sound.services.at({"apps", "web", "http"});
        late.name = name;
        late.backends.clear();
        next.services[late.key()] = late;
    };
    for (const char* name : {"api", "zone"}) {
        come(name);
        EXPECT_TRUE(faults().starts_with("services/apps/" + std::string(name) + "/http/frontends"))
            << faults();
        expect_in(faults(), {"10.96.0.10 port 80", "which service apps/web/http has"});
        next = sound;
    }
    come("api");
    come("zone");
    next.services.erase({"apps", "web", "http"});
    expect_in(faults(), {"services/apps/zone/http/frontends", "which service apps/api/http has"});
    next = sound;
    // A VRF that goes from under a service that stays.
    next.vrfs.erase("blue");
    expect_in(faults(), {"https", "blue"});
}

}  // namespace
}  // namespace viaduct::model
