// Services of a source on their way into a dataplane: what is configured beside them, and what a change among
// many costs.
#include <gtest/gtest.h>

#include "control_fake_dataplane.h"
#include "reconcile/config_changes.h"
#include "reconcile/reconciler.h"
#include "service/endpoints.h"
#include "service/lookup.h"
#include "service/services.h"
#include "store/config_history.h"
#include "told_source.h"

namespace viaduct::service {
namespace {

using test::eventually;

std::string name_of(int number) {
    return "s" + std::to_string(number);
}

std::string endpoint_of(int number) {
    return "10.200." + std::to_string(number / 256) + "." + std::to_string(number % 256);
}

void put_service(kubernetes::Objects& objects, int number, const std::string& endpoint) {
    const auto text =
        "apiVersion: v1\nkind: Service\nmetadata: {name: " + name_of(number) +
        ", namespace: apps}\nspec: {ports: [{port: 80, targetPort: 8080}]}\n---\n"
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " +
        name_of(number) + "-a, namespace: apps, labels: {kubernetes.io/service-name: " + name_of(number) +
        "}}\naddressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [" + endpoint + "]}]\n";
    const auto read = kubernetes::read_documents(text, "web.yaml");
    ASSERT_TRUE(read.faults.empty()) << to_string(read.faults.front());
    for (const auto& document : read.documents) {
        for (const auto& object : document.objects)
            kubernetes::put(objects, object);
    }
}

model::ServiceKey key_of(int number) {
    return {"apps", name_of(number), "80"};
}

class ServiceSync : public testing::Test {
protected:
    ServiceSync() {
        for (int number = 0; number < kServices; ++number)
            put_service(objects, number, endpoint_of(number));
        services.use(reconciler, [this] {
            const std::scoped_lock lock(mutex);
            return pods;
        });
        reconciler.start();
        services.start({});
        told.tell(objects);
    }
    ~ServiceSync() override {
        services.stop();
        reconciler.stop();
    }
    [[nodiscard]] std::string endpoint(int number) const {
        const auto all = dataplane.config().services;
        const auto found = all.find(key_of(number));
        return found == all.end() || found->second.backends.empty()
                   ? ""
                   : found->second.backends[0].address.to_string();
    }

    void attach(const std::string& name, const std::string& address, const Labels& labels) {
        {
            const std::scoped_lock lock(mutex);
            pods[{"apps", name}] = {{*IpAddress::parse(address)}, labels};
        }
        services.wake();
    }
    void detach(const std::string& name) {
        {
            const std::scoped_lock lock(mutex);
            pods.erase({"apps", name});
        }
        services.wake();
    }
    void put(const std::string& text) {
        const auto read = kubernetes::read_documents(text, "web.yaml");
        ASSERT_TRUE(read.faults.empty()) << to_string(read.faults.front());
        for (const auto& document : read.documents) {
            for (const auto& object : document.objects)
                kubernetes::put(objects, object);
        }
        told.tell(objects);
        ASSERT_TRUE(services.settle(std::chrono::seconds(10)));
    }
    /// "10.1.0.2:80 10.1.0.3:80", of the service that `selecting()` puts.
    [[nodiscard]] std::string selected() {
        EXPECT_TRUE(services.settle(std::chrono::seconds(10)));
        std::string text;
        const auto all = dataplane.config().services;
        const auto found = all.find(model::ServiceKey("apps", "web", "80"));
        if (found == all.end()) return "none";
        for (const auto& backend : found->second.backends)
            text += (text.empty() ? "" : " ") + backend.address.to_string() + ":" +
                    std::to_string(backend.port) + (backend.draining ? "(draining)" : "");
        return text;
    }
    void selecting(const std::string& target = "8080") {
        put("apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: apps}\n"
            "spec: {selector: {app: web}, ports: [{port: 80, targetPort: " +
            target + "}]}\n");
    }

    static constexpr int kServices = 1000;
    static std::vector<store::Migration> all_migrations() {
        auto all = store::config_migrations();
        all.insert(all.end(), migrations().begin(), migrations().end());
        return all;
    }
    static Settings settings() {
        Settings made;
        made.ranges = {*Prefix::parse("10.96.0.0/12")};
        // The ranges are claimed before there is anything to count.
        made.always_claims = true;
        return made;
    }

    test::TemporaryDirectory directory;
    test::FakeDataplane dataplane{directory.file("dataplane.sock")};
    store::Database database{directory.file("v.db"), all_migrations()};
    reconcile::ConfigSource configuration;
    test::ToldSource told;
    kubernetes::Objects objects;
    std::mutex mutex;
    AttachedPods pods;
    Services services{settings(), database, &told};
    reconcile::Reconciler reconciler{
        {.dataplane_socket = directory.file("dataplane.sock")}, database, {&configuration, &services}};
    reconcile::ConfigChanges changes{database, reconciler};
};

TEST_F(ServiceSync, OneEndpointThatChangesIsOneServiceInOneTransaction) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    ASSERT_TRUE(eventually([&] { return reconciler.status().in_sync; }));
    const auto transactions = dataplane.transactions();
    const auto readings = dataplane.readings();
    std::size_t put = 0;
    dataplane.judge([&](const model::Change& change) {
        put += change.put.services.size();
        return Faults{};
    });
    put_service(objects, 7, "10.201.0.7");
    told.tell(objects);
    ASSERT_TRUE(eventually([&] { return endpoint(7) == "10.201.0.7"; }));
    EXPECT_EQ(endpoint(8), endpoint_of(8));
    EXPECT_EQ(dataplane.transactions(), transactions + 1);
    EXPECT_EQ(put, 1U);
    // Neither does the next comparison cost more.
    const auto comparisons = reconciler.status().comparisons;
    reconciler.wake();
    ASSERT_TRUE(eventually([&] { return reconciler.status().comparisons > comparisons; }));
    EXPECT_EQ(dataplane.readings(), readings);
    EXPECT_EQ(dataplane.transactions(), transactions + 1);
    dataplane.judge({});
}

TEST_F(ServiceSync, AConfiguredServiceStaysBesideThoseOfManifests) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    model::Service own;
    own.namespace_ = "mine";
    own.name = "web";
    own.port = "80";
    own.frontends = {{.address = *IpAddress::parse("10.96.200.1"), .port = 80}};
    own.backends = {{.address = *IpAddress::parse("10.202.0.1"), .port = 8080}};
    model::Change change;
    change.put.services.emplace(model::ServiceKey(own.key()), own);
    changes.change(change, false, "");
    EXPECT_EQ(dataplane.config().services.size(), kServices + 1U);
    store::Transaction tx(database);
    Faults faults;
    const auto desired = reconciler.desired(tx, faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(desired.services, dataplane.config().services);
}

TEST_F(ServiceSync, WhatIsConfiguredComesBeforeAManifestThatHasIt) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    const auto all = dataplane.config().services;
    model::Config desired;
    auto own = all.at(key_of(7));
    own.backends[0].address = *IpAddress::parse("10.202.0.7");
    desired.services.emplace(key_of(7), own);
    Faults faults;
    store::Transaction tx(database);
    services.contribute(tx, desired, faults);
    EXPECT_EQ(desired.services.size(), all.size());
    EXPECT_EQ(desired.services.at(key_of(7)), own);
    EXPECT_EQ(desired.services.at(key_of(8)), all.at(key_of(8)));
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_EQ(faults[0].where, "services/apps/s7/80");
    EXPECT_NE(faults[0].reason.find("delete one of them"), std::string::npos);
}

TEST_F(ServiceSync, PodsThatAreAttachedAreASelectorsEndpointsWithoutManifests) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    selecting();
    EXPECT_EQ(selected(), "");
    attach("a", "10.1.0.2", {{"app", "web"}, {"tier", "front"}});
    EXPECT_EQ(selected(), "10.1.0.2:8080");
    attach("b", "10.1.0.3", {{"app", "web"}});
    attach("c", "10.1.0.4", {{"app", "shop"}});
    attach("d", "10.1.0.5", {});
    EXPECT_EQ(selected(), "10.1.0.2:8080 10.1.0.3:8080");
    const auto all = dataplane.config().services;
    const auto& backend = all.at(model::ServiceKey("apps", "web", "80")).backends[0];
    EXPECT_TRUE(backend.local);
    EXPECT_EQ(backend.name, "apps/a");
    attach("a", "10.1.0.2", {{"app", "shop"}});
    EXPECT_EQ(selected(), "10.1.0.3:8080");
    detach("b");
    EXPECT_EQ(selected(), "");
}

TEST_F(ServiceSync, APodsManifestCountsAndTheAttachmentGivesAddresses) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    selecting();
    attach("a", "10.1.0.2", {{"app", "web"}});
    EXPECT_EQ(selected(), "10.1.0.2:8080");
    put("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: apps, labels: {app: shop}}}\n");
    EXPECT_EQ(selected(), "") << "its manifest has other labels";
    put("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: apps, labels: {app: web}}}\n");
    EXPECT_EQ(selected(), "10.1.0.2:8080");
    put("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-a, namespace: apps, "
        "labels: "
        "{kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{port: 81}]\n"
        "endpoints: [{addresses: [10.9.0.1]}]\n");
    EXPECT_EQ(selected(), "10.9.0.1:81") << "slices come before selectors";
}

TEST_F(ServiceSync, APortsNameThatNoManifestExplainsIsAFault) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    selecting("http");
    attach("a", "10.1.0.2", {{"app", "web"}});
    attach("b", "10.1.0.3", {{"app", "web"}});
    EXPECT_EQ(selected(), "");
    const auto faults = services.view().faults;
    ASSERT_TRUE(faults.contains({"apps", "web"}));
    const auto& told_of = faults.at({"apps", "web"});
    ASSERT_EQ(told_of.size(), 1U);
    EXPECT_EQ(told_of[0].object, "Service apps/web");
    EXPECT_NE(told_of[0].reason.find("targetPort \"http\""), std::string::npos) << told_of[0].reason;
    EXPECT_NE(told_of[0].reason.find("apps/a"), std::string::npos) << told_of[0].reason;
    for (const char* name : {"a", "b"})
        put(std::string("{apiVersion: v1, kind: Pod, metadata: {name: ") + name +
            ", namespace: apps, labels: {app: web}}, spec: {containers: [{name: c, image: i, ports: [{name: "
            "http, "
            "containerPort: 8000}]}]}}\n");
    EXPECT_EQ(selected(), "10.1.0.2:8000 10.1.0.3:8000");
    EXPECT_FALSE(services.view().faults.contains({"apps", "web"}));
}

TEST_F(ServiceSync, WhatIsDrainedByHandGetsNothingNewUntilItGoes) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    selecting();
    attach("a", "10.1.0.2", {{"app", "web"}});
    attach("b", "10.1.0.3", {{"app", "web"}});
    const auto a = *IpAddress::parse("10.1.0.2");
    EXPECT_TRUE(services.drains().put({"apps", "web"}, a));
    EXPECT_FALSE(services.drains().put({"apps", "web"}, a));
    EXPECT_EQ(selected(), "10.1.0.2:8080(draining) 10.1.0.3:8080");
    EXPECT_EQ(Drains(database).list(), (Drained{{{"apps", "web"}, a}})) << "as after a restart";
    const auto view = services.view();
    const auto& service = view.snapshot->objects.services.at({"apps", "web"});
    std::vector<Fault> faults;
    const auto endpoints = endpoints_of(service, service->ports[0],
                                        {services.settings(), view.snapshot->objects, *view.here}, faults);
    ASSERT_EQ(endpoints.size(), 2U);
    EXPECT_TRUE(endpoints[0].ready && endpoints[0].used && endpoints[0].drained);
    EXPECT_STREQ(endpoints[0].why, "drained by hand");
    EXPECT_EQ(endpoints[0].source, EndpointSource::attached);
    EXPECT_STREQ(endpoints[1].why, "");
    EXPECT_TRUE(services.drains().erase({"apps", "web"}, a));
    EXPECT_EQ(selected(), "10.1.0.2:8080 10.1.0.3:8080");
    services.drains().put({"apps", "web"}, a);
    EXPECT_EQ(selected(), "10.1.0.2:8080(draining) 10.1.0.3:8080");
    detach("a");
    EXPECT_EQ(selected(), "10.1.0.3:8080");
    EXPECT_TRUE(services.drains().list().empty());
    EXPECT_TRUE(Drains(database).list().empty());
    attach("a", "10.1.0.2", {{"app", "web"}});
    EXPECT_EQ(selected(), "10.1.0.2:8080 10.1.0.3:8080") << "another pod has it now";
}

TEST_F(ServiceSync, EndpointsThatAreNotUsedSayWhy) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    put("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s7-a, namespace: apps, "
        "labels: "
        "{kubernetes.io/service-name: s7}}\naddressType: IPv4\nports: [{port: 8080}]\nendpoints:\n"
        "- {addresses: [10.9.0.1], nodeName: node-b, zone: east}\n"
        "- {addresses: [10.9.0.2], conditions: {ready: false}}\n"
        "- {addresses: [10.9.0.3], conditions: {ready: false, serving: true, terminating: true}}\n"
        "- {addresses: [10.9.0.4], conditions: {ready: false, serving: false, terminating: true}}\n");
    const auto view = services.view();
    const auto& service = view.snapshot->objects.services.at({"apps", "s7"});
    std::vector<Fault> faults;
    const auto all = endpoints_of(service, service->ports[0],
                                  {services.settings(), view.snapshot->objects, *view.here}, faults);
    ASSERT_EQ(all.size(), 4U);
    EXPECT_TRUE(all[0].used && !all[0].backend.draining);
    EXPECT_EQ(all[0].node, "node-b");
    EXPECT_EQ(all[0].zone, "east");
    EXPECT_EQ(to_string(all[0].origin), "web.yaml:1");
    EXPECT_FALSE(all[1].used);
    EXPECT_STREQ(all[1].why, "its ready condition is not true");
    EXPECT_TRUE(all[2].used && all[2].backend.draining);
    EXPECT_STREQ(all[2].why, "it is terminating");
    EXPECT_FALSE(all[3].used);
    EXPECT_STREQ(all[3].why, "it is terminating, and does not serve any more");
}

TEST_F(ServiceSync, SlicesAndPodsSayTheirWeights) {
    const auto slice = [](const std::string& name, const std::string& weight, const std::string& address) {
        return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + name +
               ", namespace: apps, labels: {kubernetes.io/service-name: web}, annotations: "
               "{viaduct.io/weight: \"" +
               weight + "\"}}\naddressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [" +
               address + "]}]\n";
    };
    const auto weights = [&] {
        EXPECT_TRUE(services.settle(std::chrono::seconds(10)));
        std::vector<unsigned> all;
        for (const auto& backend : dataplane.config().services.at({"apps", "web", "80"}).backends)
            all.push_back(backend.weight);
        return all;
    };
    using Weights = std::vector<unsigned>;
    selecting();
    put(slice("stable", "9", "10.1.0.2") + slice("canary", "256", "10.1.0.3"));
    EXPECT_EQ(weights(), (Weights{9, 256}));
    for (const char* wrong : {"0", "257", "-1", "3x", ""}) {
        put(slice("canary", wrong, "10.1.0.3"));
        EXPECT_EQ(weights(), (Weights{9, 1})) << wrong;
        const auto faults = services.view().faults;
        ASSERT_EQ(faults.size(), 1U) << wrong;
        EXPECT_EQ(faults.begin()->second.front().object, "EndpointSlice apps/canary");
    }
    put(slice("canary", "2", "10.1.0.3"));
    EXPECT_EQ(weights(), (Weights{9, 2}));
    EXPECT_TRUE(services.view().faults.empty());
}

TEST_F(ServiceSync, AServiceIsFoundByItsNameWhereThereIsOneOfIt) {
    ASSERT_TRUE(eventually([&] { return dataplane.config().services.size() == kServices; }));
    put("apiVersion: v1\nkind: Service\nmetadata: {name: s8, namespace: shop}\nspec: {ports: [{port: "
        "80}]}\n");
    const auto view = services.view();
    EXPECT_EQ(to_string(find_service(view, "s7").name), "apps/s7");
    EXPECT_EQ(to_string(find_service(view, "shop/s8").name), "shop/s8");
    const auto several = find_service(view, "s8");
    EXPECT_EQ(several.status, 409U);
    EXPECT_EQ(several.reason, "service s8 may be any of apps/s8, shop/s8; write its namespace, too");
    EXPECT_EQ(find_service(view, "absent").status, 404U);
    EXPECT_EQ(find_service(view, "default/s7").status, 404U);
    for (const char* wrong : {"", "/", "apps/", "/web"})
        EXPECT_EQ(find_service(view, wrong).status, 400U) << wrong;
}

}  // namespace
}  // namespace viaduct::service
