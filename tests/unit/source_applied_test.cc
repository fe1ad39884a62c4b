// Manifests that are applied by hand: all of a request or nothing, durable, and beside a directory's.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "source/applied.h"
#include "source/merged.h"
#include "source/precedence.h"
#include "temporary_directory.h"

namespace viaduct::source {
namespace {

using kubernetes::ObjectId;
using kubernetes::ObjectKind;
using Outcome = Applying::Outcome;
using Run = Applied::Run;

std::string service(const std::string& name, int port) {
    return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name +
           ", namespace: apps}\nspec:\n  ports: [{port: " + std::to_string(port) + "}]\n";
}
std::string slice(const std::string& name, const std::string& of, const std::string& address) {
    return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  "
           "name: " +
           name + "\n  namespace: apps\n  labels: {kubernetes.io/service-name: " + of +
           "}\nports: [{port: 80}]\nendpoints: [{addresses: [" + address + "]}]\n";
}
kubernetes::Documents read(const std::string& text, const std::string& file = "web.yaml") {
    return kubernetes::read_documents(text, file);
}
ObjectId web() {
    return {ObjectKind::service, "apps", "web"};
}

std::vector<Outcome> outcomes(const std::vector<Applying>& all) {
    std::vector<Outcome> made;
    for (const auto& one : all)
        made.push_back(one.outcome);
    return made;
}

class SourceApplied : public testing::Test {
protected:
    SourceApplied() { reopen(); }
    void reopen() {
        applied_.reset();
        database_.reset();
        database_.emplace(directory_.file("store.db"), migrations());
        applied_.emplace(*database_);
    }
    std::size_t services() { return applied_->latest()->objects.services.size(); }

    test::TemporaryDirectory directory_;
    std::optional<store::Database> database_;
    std::optional<Applied> applied_;
};

TEST_F(SourceApplied, TellsWhatBecomesOfEachObject) {
    const auto both = service("web", 80) + slice("web-1", "web", "10.0.0.1");
    EXPECT_EQ(outcomes(applied_->put(read(both), Run::dry)),
              (std::vector{Outcome::created, Outcome::created}));
    EXPECT_EQ(services(), 0U);
    EXPECT_EQ(outcomes(applied_->put(read(both), Run::real)),
              (std::vector{Outcome::created, Outcome::created}));
    EXPECT_EQ(services(), 1U);
    const auto other = service("web", 81) + slice("web-1", "web", "10.0.0.1");
    const auto changed = applied_->put(read(other), Run::real);
    EXPECT_EQ(outcomes(changed), (std::vector{Outcome::configured, Outcome::unchanged}));
    EXPECT_NE(changed[0].before.find("\"port\":80"), std::string::npos) << changed[0].before;
    EXPECT_NE(changed[0].after.find("\"port\":81"), std::string::npos) << changed[0].after;
    EXPECT_EQ(to_string(applied_->latest()->objects.services.at({"apps", "web"}).origin()), "applied");
    const auto gone = applied_->erase({web(), {ObjectKind::pod, "apps", "none"}}, Run::real);
    EXPECT_EQ(outcomes(gone), (std::vector{Outcome::deleted, Outcome::absent}));
    EXPECT_EQ(services(), 0U);
    EXPECT_EQ(applied_->latest()->objects.slices.size(), 1U);
}

TEST_F(SourceApplied, HalfOfABadRequestIsNotApplied) {
    try {
        applied_->put(read(service("web", 80) + service("bad", 70000)), Run::real);
        FAIL() << "was taken";
    } catch (const Refused& refused) {
        ASSERT_EQ(refused.faults().size(), 1U);
        EXPECT_NE(refused.faults()[0].reason.find("web.yaml:"), std::string::npos);
        EXPECT_NE(refused.faults()[0].reason.find("Service apps/bad: spec.ports[0].port is 70000"),
                  std::string::npos)
            << refused.faults()[0].reason;
    }
    EXPECT_EQ(services(), 0U);
    reopen();
    EXPECT_EQ(services(), 0U);
}

TEST_F(SourceApplied, OutlivesAReopen) {
    const std::string endpoints =
        "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: old, namespace: apps}\nsubsets:\n"
        "- addresses: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]\n  notReadyAddresses: [{ip: 10.0.0.2}]\n"
        "  ports: [{port: 80}]\n- addresses: [{ip: 10.0.0.3}]\n  ports: [{port: 81}]\n";
    const std::string pod =
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\nstatus: {phase: Running}\n";
    const std::string node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: a}\n";
    const auto all = service("web", 80) + slice("web-1", "web", "10.0.0.1") + endpoints + pod + node;
    applied_->put(read(all), Run::real);
    const auto before = applied_->latest()->objects;
    EXPECT_EQ(before, kubernetes::objects_of(read(all)));
    reopen();
    EXPECT_EQ(applied_->latest()->objects, before);
    EXPECT_EQ(outcomes(applied_->put(read(all), Run::real)), std::vector(5, Outcome::unchanged));
    applied_->erase({web(), {ObjectKind::endpoints, "apps", "old"}}, Run::real);
    reopen();
    EXPECT_EQ(applied_->latest()->objects.services.size(), 0U);
    EXPECT_EQ(applied_->latest()->objects.slices.size(), 1U);
}

TEST_F(SourceApplied, WhatCannotBeReadAnyMoreIsToldAndCanBeDeleted) {
    applied_->put(read(service("web", 80)), Run::real);
    {
        store::Transaction tx(*database_);
        tx.run("UPDATE applied_manifest SET text = '{\"kind\": \"Service\"}'");
        tx.commit();
    }
    reopen();
    EXPECT_EQ(services(), 0U);
    EXPECT_EQ(applied_->latest()->faults.count("applied"), 1U);
    EXPECT_EQ(outcomes(applied_->erase({web()}, Run::real)), std::vector{Outcome::deleted});
    EXPECT_TRUE(applied_->latest()->faults.empty());
    reopen();
    EXPECT_TRUE(applied_->latest()->faults.empty());
}

SnapshotPtr snapshot_of(const std::string& text, const std::string& file) {
    Snapshot snapshot;
    snapshot.objects = kubernetes::objects_of(read(text, file));
    return std::make_shared<const Snapshot>(std::move(snapshot));
}

TEST(SourcePrecedence, TheFirstSourceThatHasAnObjectIsHeard) {
    Precedence both({"directory /m", "applied manifests"});
    both.update(1, snapshot_of(service("web", 81) + service("own", 82), "applied"));
    EXPECT_EQ(both.snapshot().objects.services.at({"apps", "web"})->ports[0].port, 81);
    both.update(0, snapshot_of(service("web", 80), "web.yaml"));
    const auto now = both.snapshot();
    EXPECT_EQ(now.objects.services.size(), 2U);
    EXPECT_EQ(now.objects.services.at({"apps", "web"})->ports[0].port, 80);
    ASSERT_EQ(now.faults.count("applied"), 1U);
    const auto fault = to_string(now.faults.at("applied").front());
    EXPECT_NE(fault.find("Service apps/web is described at web.yaml:2 (directory /m) too"), std::string::npos)
        << fault;
    EXPECT_EQ(both.holder(web())->source, 0U);
    EXPECT_EQ(both.holder({ObjectKind::service, "apps", "own"})->source, 1U);
    both.update(0, snapshot_of("", "web.yaml"));
    const auto after = both.snapshot();
    EXPECT_EQ(after.objects.services.at({"apps", "web"})->ports[0].port, 81);
    EXPECT_TRUE(after.faults.empty());
    both.update(1, snapshot_of("", "applied"));
    EXPECT_EQ(both.snapshot().objects, kubernetes::Objects());
    EXPECT_FALSE(both.holder(web()));
}

TEST(SourcePrecedence, ASliceIsOneObjectWhateverItsService) {
    Precedence both({"a", "b"});
    both.update(0, snapshot_of(slice("s", "web", "10.0.0.1"), "a.yaml"));
    both.update(1, snapshot_of(slice("s", "other", "10.0.0.2"), "b.yaml"));
    EXPECT_EQ(both.snapshot().objects.slices.size(), 1U);
    both.update(0, snapshot_of(slice("s", "third", "10.0.0.1"), "a.yaml"));
    const auto now = both.snapshot();
    EXPECT_EQ(now.objects.slices.size(), 1U);
    EXPECT_EQ(now.objects.slices.begin()->first.service, "third");
    EXPECT_EQ(now.faults.count("b.yaml"), 1U);
}

TEST(SourcePrecedence, OneChangedSliceSharesAllTheRest) {
    std::string many;
    for (int i = 0; i < 2000; ++i)
        many += slice("s" + std::to_string(i), "web", "10.0.0.1");
    Precedence both({"a", "b"});
    auto first = std::make_shared<Snapshot>(*snapshot_of(many, "a.yaml"));
    both.update(0, first);
    both.update(1, snapshot_of(slice("mine", "mine", "10.0.0.9"), "applied"));
    const auto before = both.snapshot();
    auto second = std::make_shared<Snapshot>(*first);
    const auto changed = read(slice("s77", "web", "10.0.0.2"), "a.yaml");
    kubernetes::put(second->objects, changed.documents[0].objects[0]);
    both.update(0, second);
    const auto after = both.snapshot();
    int differences = 0;
    using Slices = decltype(after.objects.slices);
    const auto visit = [&](const kubernetes::EndpointSliceKey&, const Slices::mapped_type*,
                           const Slices::mapped_type*) {
        ++differences;
        return true;
    };
    Slices::differences(before.objects.slices, after.objects.slices, visit);
    EXPECT_EQ(differences, 1);
    EXPECT_EQ(after.objects.slices.size(), 2001U);
}

/// Tells what a test says, when it says it.
class Told final : public Source {
public:
    explicit Told(std::string name, std::string trouble = {})
        : name_(std::move(name)), trouble_(std::move(trouble)) {}
    std::string name() const override { return name_; }
    void start(Listener listener) override { listener_ = std::move(listener); }
    void stop() override { listener_ = nullptr; }
    SnapshotPtr latest() const override { return nullptr; }
    std::string trouble() const override { return trouble_; }
    void tell(const std::string& text) { listener_(snapshot_of(text, name_)); }

private:
    std::string name_;
    std::string trouble_;
    Listener listener_;
};

class Heard {
public:
    Source::Listener listener() {
        return [this](SnapshotPtr snapshot) {
            const std::lock_guard lock(mutex_);
            all_.push_back(std::move(snapshot));
        };
    }
    std::vector<SnapshotPtr> all() {
        const std::lock_guard lock(mutex_);
        return all_;
    }

private:
    std::mutex mutex_;
    std::vector<SnapshotPtr> all_;
};

TEST(SourceMerged, TheFirstPictureIsOfAllSources) {
    Told a("a");
    Told b("b");
    Heard heard;
    Merged merged({&a, &b}, std::chrono::hours(1));
    merged.start(heard.listener());
    b.tell(service("web", 81));
    a.tell(service("web", 80));
    ASSERT_TRUE(test::eventually([&] { return !heard.all().empty(); }));
    EXPECT_EQ(heard.all().front()->objects.services.at({"apps", "web"})->ports[0].port, 80);
    EXPECT_EQ(merged.holder(web())->source, &a);
    EXPECT_EQ(merged.name(), "a and b");
    a.tell("");
    ASSERT_TRUE(test::eventually([&] { return merged.holder(web())->source == &b; }));
    merged.stop();
}

TEST(SourceMerged, ASourceInTroubleKeepsNobodyWaiting) {
    Told away("a", "the directory /m is not there");
    Told b("b");
    Heard heard;
    Merged merged({&away, &b}, std::chrono::hours(1));
    merged.start(heard.listener());
    b.tell(service("web", 81));
    ASSERT_TRUE(test::eventually([&] { return !heard.all().empty(); }));
    EXPECT_EQ(heard.all().front()->objects.services.size(), 1U);
    EXPECT_EQ(heard.all().front()->trouble, "the directory /m is not there");
    EXPECT_EQ(merged.latest()->trouble, "the directory /m is not there");
}

}  // namespace
}  // namespace viaduct::source
