// Services of a source on their way into a dataplane: what is configured beside them, and what a change among
// many costs.
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
        services.use(reconciler, [] { return PodAddresses{}; });
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

}  // namespace
}  // namespace viaduct::service
