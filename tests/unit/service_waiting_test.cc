// Waiting until what was applied is in force, or is known not to be.
#include <gtest/gtest.h>

#include "control_fake_dataplane.h"
#include "reconcile/config_changes.h"
#include "service/services.h"
#include "service/waiting.h"
#include "store/config_history.h"

namespace viaduct::service {
namespace {

using source::Applied;
using source::Applying;
using std::chrono::milliseconds;
using test::eventually;

std::string service(const std::string& name, const std::string& spec = "") {
    return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           ", namespace: apps}\nspec: {ports: [{port: 80}]" + (spec.empty() ? "" : ", " + spec) + "}\n";
}
std::string slice(const std::string& of, const std::string& address) {
    return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + of +
           "-a, namespace: apps, labels: {kubernetes.io/service-name: " + of +
           "}}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: [" + address + "]}]\n";
}

class ServiceWaiting : public testing::Test {
protected:
    ServiceWaiting() {
        services.use(reconciler, [] { return AttachedPods{}; });
        services.start({});
        reconciler.start();
        EXPECT_TRUE(eventually([&] { return reconciler.status().in_sync; }));
    }
    ~ServiceWaiting() override {
        services.stop();
        reconciler.stop();
    }
    std::vector<Applying> apply(const std::string& text) {
        return applied.put(kubernetes::read_documents(text, "web.yaml"), Applied::Run::real);
    }
    /// "Service apps/web: reason" for each that is not in force.
    std::string wait(const std::vector<Applying>& all, milliseconds patience = milliseconds(10000)) {
        std::string text;
        for (const auto& one : Waiting(applied, merged, services, reconciler).wait(all, patience))
            text += (text.empty() ? "" : "; ") + to_string(one.id) + ": " + one.reason;
        return text;
    }
    static std::vector<store::Migration> all_migrations() {
        auto all = store::config_migrations();
        all.insert(all.end(), migrations().begin(), migrations().end());
        all.insert(all.end(), source::migrations().begin(), source::migrations().end());
        return all;
    }
    static Settings settings() {
        Settings made;
        made.ranges = {*Prefix::parse("10.96.0.0/12")};
        return made;
    }
    /// The first endpoint of apps/web in the dataplane.
    [[nodiscard]] std::string endpoint() const {
        const auto all = dataplane.config().services;
        const auto found = all.find(model::ServiceKey("apps", "web", "80"));
        if (found == all.end()) return "no service";
        return found->second.backends.empty() ? "" : found->second.backends[0].address.to_string();
    }

    test::TemporaryDirectory directory;
    test::FakeDataplane dataplane{directory.file("dataplane.sock")};
    store::Database database{directory.file("v.db"), all_migrations()};
    reconcile::ConfigSource configuration;
    Applied applied{database};
    source::Merged merged{{&applied}};
    Services services{settings(), database, &merged};
    reconcile::Reconciler reconciler{
        {.dataplane_socket = directory.file("dataplane.sock")}, database, {&configuration, &services}};
    reconcile::ConfigChanges changes{database, reconciler};
};

TEST_F(ServiceWaiting, ReturnsWhenAllOfItIsInForce) {
    for (int round = 0; round < 50; ++round) {
        const auto address = "10.9.0." + std::to_string(round + 1);
        EXPECT_EQ(wait(apply(service("web") + slice("web", address))), "");
        EXPECT_EQ(endpoint(), address);
    }
    EXPECT_EQ(wait(apply(service("web"))), "") << "it is in force already";
    EXPECT_EQ(
        wait(applied.erase({{kubernetes::ObjectKind::endpoint_slice, "apps", "web-a"}}, Applied::Run::real)),
        "");
    EXPECT_EQ(endpoint(), "");
    EXPECT_EQ(wait(applied.erase({{kubernetes::ObjectKind::service, "apps", "web"}}, Applied::Run::real)),
              "");
    EXPECT_EQ(endpoint(), "no service");
}

TEST_F(ServiceWaiting, PodsAndNodesAndEndpointsAreWaitedForToo) {
    EXPECT_EQ(wait(apply(
                  service("web", "selector: {app: web}") +
                  "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: apps, labels: {app: web}}\n"
                  "status: {podIP: 10.9.0.1, conditions: [{type: Ready, status: 'True'}]}\n"
                  "---\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n")),
              "");
    EXPECT_EQ(endpoint(), "10.9.0.1");
    EXPECT_EQ(wait(apply("apiVersion: v1\nkind: Endpoints\nmetadata: {name: web, namespace: apps}\nsubsets:\n"
                         "- {addresses: [{ip: 10.9.0.2}], ports: [{port: 80}]}\n")),
              "");
    EXPECT_EQ(endpoint(), "10.9.0.2");
    EXPECT_EQ(wait(apply("apiVersion: v1\nkind: Service\nmetadata: {name: head, namespace: apps}\n"
                         "spec: {clusterIP: None, ports: [{port: 80}]}\n")),
              "");
}

TEST_F(ServiceWaiting, AClashIsToldAtOnce) {
    EXPECT_EQ(wait(apply(service("web", "clusterIP: 10.96.0.7"))), "");
    const auto told = wait(apply(service("thief", "clusterIP: 10.96.0.7") + service("other")));
    EXPECT_TRUE(told.starts_with("Service apps/thief: spec.clusterIP ")) << told;
    EXPECT_NE(told.find("10.96.0.7, which Service apps/web has"), std::string::npos) << told;
    EXPECT_EQ(told.find("apps/other"), std::string::npos) << told;
}

TEST_F(ServiceWaiting, WhatTheDataplaneRefusesIsToldWithItsReason) {
    dataplane.judge([](const model::Change& change) {
        return change.put.services.contains(model::ServiceKey("apps", "web", "80"))
                   ? Faults{{"services/apps/web/80", "is too much for this test"}}
                   : Faults{};
    });
    EXPECT_EQ(wait(apply(service("web") + service("other"))),
              "Service apps/web: port 80: services/apps/web/80: is too much for this test");
    dataplane.judge({});
    EXPECT_EQ(wait(apply(service("web", "sessionAffinity: ClientIP"))), "");
}

TEST_F(ServiceWaiting, ADataplaneThatIsAwayIsToldWhenTimeIsOver) {
    dataplane.stop();
    ASSERT_TRUE(eventually([&] { return !reconciler.status().connected; }));
    const auto told = wait(apply(service("web")), milliseconds(200));
    EXPECT_TRUE(told.starts_with("Service apps/web: the dataplane is away: ")) << told;
    dataplane.start();
    EXPECT_EQ(wait(apply(service("web"))), "");
    EXPECT_EQ(endpoint(), "");
}

TEST_F(ServiceWaiting, AServiceThatIsConfiguredAlreadyIsTold) {
    model::Service own;
    own.namespace_ = "apps";
    own.name = "web";
    own.port = "80";
    own.frontends = {{.address = *IpAddress::parse("10.96.200.1"), .port = 80}};
    model::Change change;
    change.put.services.emplace(model::ServiceKey(own.key()), own);
    changes.change(change, false, "");
    EXPECT_EQ(
        wait(apply(service("web"))),
        "Service apps/web: port 80: is configured already, and a manifest has it, too; delete one of them");
    const auto configured = [&] {
        const auto all = dataplane.config().services;
        const auto found = all.find(model::ServiceKey(own.key()));
        return found != all.end() && found->second == own;
    };
    EXPECT_TRUE(configured());
    // What is configured outlives the manifest.
    EXPECT_EQ(wait(applied.erase({{kubernetes::ObjectKind::service, "apps", "web"}}, Applied::Run::real)),
              "");
    EXPECT_TRUE(configured());
}

TEST_F(ServiceWaiting, EndsWhenServicesDo) {
    dataplane.stop();
    ASSERT_TRUE(eventually([&] { return !reconciler.status().connected; }));
    const auto all = apply(service("web"));
    std::jthread stopping([&] { services.stop(); });
    EXPECT_NE(wait(all, std::chrono::hours(1)), "");
}

}  // namespace
}  // namespace viaduct::service
