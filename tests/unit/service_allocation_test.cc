// ClusterIPs and node ports of services that change together: what one gives up another of the same change
// gets, in whichever order their names stand.
#include <gtest/gtest.h>

#include "control_fake_dataplane.h"
#include "reconcile/config_changes.h"
#include "reconcile/reconciler.h"
#include "service/services.h"
#include "store/config_history.h"
#include "told_source.h"

namespace viaduct::service {
namespace {

using test::eventually;

class ServiceAllocation : public testing::Test {
protected:
    ServiceAllocation() {
        services.use(reconciler, [] { return AttachedPods{}; });
        reconciler.start();
        services.start({});
    }
    ~ServiceAllocation() override {
        services.stop();
        reconciler.stop();
    }

    void tell(const std::string& manifests) {
        const auto read = kubernetes::read_documents(manifests, "web.yaml");
        ASSERT_TRUE(read.faults.empty()) << to_string(read.faults.front());
        told.tell(kubernetes::objects_of(read));
    }
    static std::string service(const std::string& name, const std::string& spec) {
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n";
    }
    /// What the dataplane answers at for a service's port 80.
    [[nodiscard]] std::set<std::string> places(const std::string& name) const {
        std::set<std::string> all;
        const auto config = dataplane.config().services;
        const auto found = config.find(model::ServiceKey{"default", name, "80"});
        if (found == config.end()) return all;
        for (const auto& frontend : found->second.frontends)
            all.insert(frontend.address.to_string() + ":" + std::to_string(frontend.port));
        return all;
    }
    static std::vector<store::Migration> all_migrations() {
        auto all = store::config_migrations();
        all.insert(all.end(), migrations().begin(), migrations().end());
        return all;
    }
    static Settings settings() {
        Settings made;
        made.ranges = {*Prefix::parse("10.96.0.0/12")};
        return made;
    }
    using Places = std::set<std::string>;

    test::TemporaryDirectory directory;
    test::FakeDataplane dataplane{directory.file("dataplane.sock")};
    store::Database database{directory.file("v.db"), all_migrations()};
    reconcile::ConfigSource configuration;
    test::ToldSource told;
    Services services{settings(), database, &told};
    reconcile::Reconciler reconciler{
        {.dataplane_socket = directory.file("dataplane.sock")}, database, {&configuration, &services}};
};

TEST_F(ServiceAllocation, TwoServicesExchangeTheirClusterIps) {
    const auto with = [](const std::string& address) {
        return "clusterIP: " + address + ", ports: [{port: 80}]";
    };
    tell(service("a", with("10.96.0.1")) + service("b", with("10.96.0.2")));
    ASSERT_TRUE(eventually([&] { return places("b") == Places{"10.96.0.2:80"}; }));
    tell(service("a", with("10.96.0.2")) + service("b", with("10.96.0.1")));
    EXPECT_TRUE(eventually([&] {
        return places("a") == Places{"10.96.0.2:80"} && places("b") == Places{"10.96.0.1:80"};
    })) << services.view().faults.size()
        << " are refused";
    EXPECT_TRUE(services.view().faults.empty());
}

TEST_F(ServiceAllocation, TwoServicesExchangeTheirNodePorts) {
    const auto with = [](int port) {
        return "type: NodePort, ports: [{port: 80, nodePort: " + std::to_string(port) + "}]";
    };
    const auto ports = [&] {
        std::map<std::string, std::uint16_t> all;
        store::Transaction tx(database);
        auto rows = tx.prepare("SELECT name, node_port FROM service_node_port");
        while (rows.step())
            all[rows.text(0)] = static_cast<std::uint16_t>(rows.integer(1));
        return all;
    };
    using Ports = std::map<std::string, std::uint16_t>;
    tell(service("a", with(30001)) + service("b", with(30002)));
    ASSERT_TRUE(eventually([&] { return ports() == Ports{{"a", 30001}, {"b", 30002}}; }));
    tell(service("a", with(30002)) + service("b", with(30001)));
    EXPECT_TRUE(eventually([&] { return ports() == Ports{{"a", 30002}, {"b", 30001}}; }));
    EXPECT_TRUE(services.view().faults.empty());
}

TEST_F(ServiceAllocation, AnAddressThatSomebodyElseKeepsIsRefusedByBothNames) {
    const auto with = [](const std::string& address) {
        return "clusterIP: " + address + ", ports: [{port: 80}]";
    };
    tell(service("a", with("10.96.0.1")) + service("b", with("10.96.0.2")));
    ASSERT_TRUE(eventually([&] { return places("b") == Places{"10.96.0.2:80"}; }));
    tell(service("a", with("10.96.0.2")) + service("b", with("10.96.0.2")));
    ASSERT_TRUE(eventually([&] { return services.view().faults.size() == 1; }));
    const auto faults = services.view().faults;
    EXPECT_EQ(faults.begin()->second.front().object, "Service default/a");
    EXPECT_NE(faults.begin()->second.front().reason.find("Service default/b"), std::string::npos);
    EXPECT_EQ(places("b"), Places{"10.96.0.2:80"});
}

}  // namespace
}  // namespace viaduct::service
