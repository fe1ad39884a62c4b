// Uplinks of PCI devices from adding to deleting, with a dataplane that refuses, and control that is killed
// at any moment; on a host of files.
#include "uplink/uplinks.h"

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

#include "control_fake_dataplane.h"
#include "fake_host.h"
#include "store/config_history.h"
#include "uplink/routes.h"

namespace viaduct::uplink {
namespace {

constexpr const char* kAddress = "0000:03:00.0";

std::vector<store::Migration> all_migrations() {
    auto all = store::config_migrations();
    all.insert(all.end(), migrations().begin(), migrations().end());
    return all;
}

/// Control, as far as uplinks go.
struct Control {
    Control(test::FakeHost& host, const std::string& file, const std::string& socket)
        : database(file, all_migrations()),
          reconciler({.dataplane_socket = socket}, database, {&configuration}),
          changes(database, reconciler),
          uplinks(host.tree(), database, changes) {
        add_routes(router, uplinks, database);
    }
    Json::Value ask(const std::string& method, const std::string& path, const std::string& body = "") {
        http::Request request;
        request.method = method;
        request.path = path;
        request.body = body;
        try {
            const auto response = router.route(request);
            status = response.status;
            return parse_json(response.body, "answer");
        } catch (const Refused& refused) {
            status = 400;
            return faults_to_json(refused.faults());
        }
    }
    [[nodiscard]] bool has_port(const std::string& name) {
        store::Transaction tx(database);
        return store::present_config(tx)->ports.contains(name);
    }

    unsigned status = 0;
    store::Database database;
    reconcile::ConfigSource configuration;
    reconcile::Reconciler reconciler;
    reconcile::ConfigChanges changes;
    Uplinks uplinks;
    api::Router router;
};

class UplinksOfCards : public testing::Test {
protected:
    UplinksOfCards() { host.add_card({}); }
    std::unique_ptr<Control> control() {
        return std::make_unique<Control>(host, directory.file("v.db"), directory.file("dataplane.sock"));
    }
    /// Of control that starts now: there is no port (yet, or any more), so the host has its device.
    void expect_given_back(std::size_t deaths) {
        auto it = control();
        it->uplinks.recover();
        EXPECT_FALSE(it->has_port("wan"));
        EXPECT_EQ(host.driver_of(kAddress), "igb") << deaths;
        EXPECT_EQ(host.override_of(kAddress), "(null)") << deaths;
        EXPECT_TRUE(it->uplinks.taken().empty()) << deaths;
    }
    test::FakeHost host;
    test::TemporaryDirectory directory;
};

constexpr const char* kAdd = R"({"sources": ["0000:03:00.0"], "port": {"name": "wan", "queues": 2}})";

TEST_F(UplinksOfCards, TakesADeviceAndGivesItBack) {
    auto it = control();
    const auto made = it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 200U) << to_json_text(made);
    EXPECT_EQ(made["notes"].size(), 1U);
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    EXPECT_EQ(it->uplinks.taken().at(kAddress).former, "igb");
    const auto list = it->ask("GET", "/v1/uplinks/devices");
    const auto& device = list["uplinks"][0]["devices"][0];
    EXPECT_EQ(device["device"].asString(), kAddress);
    EXPECT_EQ(device["driver"].asString(), "vfio-pci");
    EXPECT_EQ(device["former_driver"].asString(), "igb");
    EXPECT_EQ(list["unused"].size(), 0U);
    EXPECT_EQ(list["uplinks"][0]["queues"].asUInt(), 2U);

    const auto again = it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 400U);
    EXPECT_NE(again["error"].asString().find("exists already"), std::string::npos);
    const auto other = it->ask("POST", "/v1/uplinks", R"({"sources": ["03:00.0"], "port": {"name": "x"}})");
    EXPECT_EQ(it->status, 400U);
    EXPECT_NE(other["error"].asString().find("which port \"wan\" has"), std::string::npos)
        << to_json_text(other);

    it->ask("POST", "/v1/uplinks/delete", R"({"name": "0000:03:00.0"})");
    EXPECT_EQ(it->status, 400U);
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "wan", "dry_run": true})");
    EXPECT_EQ(it->status, 200U);
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "wan"})");
    EXPECT_EQ(it->status, 200U);
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_TRUE(it->uplinks.taken().empty());
    EXPECT_FALSE(it->has_port("wan"));
}

TEST_F(UplinksOfCards, TouchesNothingInADryRunAndWhenItIsRefused) {
    auto it = control();
    for (const char* body : {
             R"({"sources": ["0000:03:00.0"], "dry_run": true})",
             R"({"sources": ["0000:03:00.0"], "port": {"bridge": "nosuch"}})",
             R"({"sources": ["0000:03:00.0", "0000:03:00.0"]})",
             R"({"sources": ["0000:03:00.0", "eth9"]})",
             R"({"sources": ["0000:03:00.0"], "port": {"bond": "802.3ad"}})",
             R"({"sources": ["0000:03:00.0"], "port": {"name": "a b"}})",
             R"({"sources": ["0000:03:00.0"], "port": {"queues": 99}})",
             R"({"sources": ["0000:03:00.0"], "port": {"device": "x"}})",
             R"({"sources": ["0000:03:00.0"], "port": {"kind": "tap"}})",
             R"({"sources": ["0000:03:00.0"], "port": []})",
             R"({"sources": ["0000:03:00.0"], "driver": "e1000"})",
             R"({"sources": ["0000:03:00.0"], "nonsense": 1})",
             R"({"sources": []})",
             R"({"sources": "eth0"})",
             R"({})",
             R"([])",
         }) {
        it->ask("POST", "/v1/uplinks", body);
        EXPECT_EQ(it->status, std::string(body).find("dry_run") != std::string::npos ? 200U : 400U) << body;
        EXPECT_EQ(host.driver_of(kAddress), "igb") << body;
        EXPECT_TRUE(it->uplinks.taken().empty()) << body;
        EXPECT_TRUE(host.written.empty()) << body;
    }
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "nosuch"})");
    EXPECT_EQ(it->status, 400U);
    it->ask("POST", "/v1/uplinks/delete", R"({})");
    EXPECT_EQ(it->status, 400U);
}

TEST_F(UplinksOfCards, GivesItBackWhenTheDataplaneRefuses) {
    test::FakeDataplane dataplane(directory.file("dataplane.sock"));
    auto it = control();
    it->reconciler.start();
    ASSERT_TRUE(test::eventually([&] { return it->reconciler.status().connected; }));
    dataplane.judge([&](const model::Change& change) {
        // Only the real one finds out that the device does not open.
        const bool taken = host.driver_of(kAddress) == "vfio-pci";
        return change.put.ports.empty() || !taken
                   ? Faults()
                   : Faults{{"ports/wan/device", "does not start: no such thing"}};
    });
    const auto answer = it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 400U) << to_json_text(answer);
    EXPECT_NE(answer["error"].asString().find("does not start"), std::string::npos) << to_json_text(answer);
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_TRUE(it->uplinks.taken().empty());
    EXPECT_FALSE(it->has_port("wan"));
    dataplane.judge({});
    it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 200U);
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
}

TEST_F(UplinksOfCards, SaysWhatTheKernelRefused) {
    auto it = control();
    host.refusing.insert("vfio-pci");
    const auto answer = it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 409U);
    EXPECT_NE(answer["error"].asString().find("back with igb"), std::string::npos) << to_json_text(answer);
    EXPECT_TRUE(it->uplinks.taken().empty());
    EXPECT_FALSE(it->has_port("wan"));
}

TEST_F(UplinksOfCards, ABondsDevicesAreAllTakenOrNone) {
    host.add_card({.address = "0000:04:00.0", .interface = "eth1", .group = "8"});
    auto it = control();
    const char* body =
        R"({"sources": ["0000:03:00.0", "0000:04:00.0"], "port": {"name": "b", "bond": "802.3ad"}})";
    bool second = false;
    host.at_write = [&](std::size_t) {
        second =
            second || (host.driver_of(kAddress) == "vfio-pci" && host.driver_of("0000:04:00.0") == "igb");
        if (second) host.refusing.insert("vfio-pci");
    };
    it->ask("POST", "/v1/uplinks", body);
    EXPECT_EQ(it->status, 409U);
    EXPECT_TRUE(second);
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_EQ(host.driver_of("0000:04:00.0"), "igb");
    EXPECT_TRUE(it->uplinks.taken().empty());
    host.at_write = {};
    host.refusing.clear();
    it->ask("POST", "/v1/uplinks", body);
    EXPECT_EQ(it->status, 200U);
    EXPECT_EQ(it->uplinks.taken().size(), 2U);
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "b"})");
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_EQ(host.driver_of("0000:04:00.0"), "igb");
}

TEST_F(UplinksOfCards, LeavesOneAloneThatVfioHadBefore) {
    node::bind(host.tree(), *node::read_pci_device(host.tree(), kAddress), node::kVfio);
    auto it = control();
    it->ask("POST", "/v1/uplinks", kAdd);
    EXPECT_EQ(it->status, 200U);
    EXPECT_TRUE(it->uplinks.taken().empty());
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "wan"})");
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
}

TEST_F(UplinksOfCards, TellsOfOneThatCannotBeGivenBack) {
    auto it = control();
    it->ask("POST", "/v1/uplinks", kAdd);
    host.refusing.insert("igb");
    const auto answer = it->ask("POST", "/v1/uplinks/delete", R"({"name": "wan"})");
    EXPECT_EQ(it->status, 200U);
    ASSERT_EQ(answer["notes"].size(), 1U);
    EXPECT_NE(answer["notes"][0].asString().find("viaduct uplink del 0000:03:00.0"), std::string::npos);
    EXPECT_EQ(it->ask("GET", "/v1/uplinks/devices")["unused"][0]["device"].asString(), kAddress);
    host.refusing.clear();
    it->ask("POST", "/v1/uplinks/delete", R"({"name": "0000:03:00.0"})");
    EXPECT_EQ(it->status, 200U);
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_TRUE(it->uplinks.taken().empty());
}

TEST_F(UplinksOfCards, TakesAgainWhatARebootOrAPlugGaveAway) {
    {
        auto it = control();
        it->ask("POST", "/v1/uplinks", kAdd);
    }
    host.remove_card(kAddress);
    host.add_card({});
    auto it = control();
    it->uplinks.recover();
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    // Unplugged while it runs.
    host.remove_card(kAddress);
    it->uplinks.keep();
    EXPECT_FALSE(it->ask("GET", "/v1/uplinks/devices")["uplinks"][0]["devices"][0]["present"].asBool());
    host.add_card({});
    it->uplinks.keep();
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    // Another card at its place is not touched.
    host.remove_card(kAddress);
    host.add_card({.id = "0x10d3"});
    it->uplinks.keep();
    EXPECT_EQ(host.driver_of(kAddress), "igb");
}

TEST_F(UplinksOfCards, GivesBackAtTheStartWhatLostItsPortOtherwise) {
    {
        auto it = control();
        it->ask("POST", "/v1/uplinks", kAdd);
        model::Change change;
        change.delete_ports.insert("wan");
        it->changes.change(change, false, "by port del");
        EXPECT_EQ(it->ask("GET", "/v1/uplinks/devices")["unused"].size(), 1U);
    }
    auto it = control();
    it->uplinks.recover();
    EXPECT_EQ(host.driver_of(kAddress), "igb");
    EXPECT_TRUE(it->uplinks.taken().empty());
}

/// Runs `work` in a process that dies at its `number`-th write to the kernel, as by kill -9; false when it
/// got through.
bool killed_at(test::FakeHost& host, std::size_t number, const std::function<void()>& work) {
    host.written.clear();
    const auto child = ::fork();
    if (child == 0) {
        host.at_write = [number](std::size_t written) {
            if (written == number) ::_exit(9);
        };
        work();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status) == 9;
}

TEST_F(UplinksOfCards, SurvivesKillAtAnyWriteWhileAdding) {
    std::size_t deaths = 0;
    while (killed_at(host, deaths, [&] { control()->ask("POST", "/v1/uplinks", kAdd); })) {
        ++deaths;
        expect_given_back(deaths);
    }
    EXPECT_EQ(deaths, 3U);
    auto it = control();
    it->uplinks.recover();
    EXPECT_TRUE(it->has_port("wan"));
    EXPECT_EQ(host.driver_of(kAddress), "vfio-pci");
    EXPECT_EQ(it->uplinks.taken().at(kAddress).former, "igb");
}

TEST_F(UplinksOfCards, SurvivesKillAtAnyWriteWhileDeleting) {
    std::size_t deaths = 0;
    for (;; ++deaths) {
        {
            auto it = control();
            it->uplinks.recover();
            if (!it->has_port("wan")) {
                it->ask("POST", "/v1/uplinks", kAdd);
            }
            ASSERT_EQ(host.driver_of(kAddress), "vfio-pci");
        }
        if (!killed_at(host, deaths,
                       [&] { control()->ask("POST", "/v1/uplinks/delete", R"({"name": "wan"})"); }))
            break;
        expect_given_back(deaths);
    }
    EXPECT_EQ(deaths, 3U);
    EXPECT_EQ(host.driver_of(kAddress), "igb");
}

}  // namespace
}  // namespace viaduct::uplink
