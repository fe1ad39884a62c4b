// A directory of manifests over restarts of its reader: what it said last stays in force where it cannot say
// anything now, and nothing stays of what was really taken away.
#include <sys/stat.h>

#include "source_bench.h"

namespace viaduct::source {
namespace {

using SourceKept = SourceDirectory;

constexpr auto kAny = [](const Snapshot&) { return true; };

TEST_F(SourceKept, ADirectoryThatIsNotThereAtTheStartSaysWhatItSaidBefore) {
    write(path_ / "web.yaml", service("web", 80) + "---\n" + service("api", 81));
    start_keeping();
    wait_for_port("web", 80);
    stop();
    fs::rename(path_, top_ / "away");
    start_keeping();
    const auto first = wait(kAny);
    EXPECT_EQ(port_of(*first, "web"), 80);
    EXPECT_EQ(first->objects.services.at({"apps", "api"}).origin().line, 7U);
    EXPECT_EQ(*first->objects.services.at({"apps", "api"}).origin().file, "web.yaml");
    EXPECT_NE(first->trouble.find("what it said last stays in force"), std::string::npos) << first->trouble;
    // It comes back, and says less.
    write(top_ / "away" / "web.yaml", service("web", 80));
    fs::rename(top_ / "away", path_);
    const auto back = wait([](const Snapshot& now) { return now.trouble.empty(); });
    EXPECT_EQ(port_of(*back, "web"), 80);
    EXPECT_EQ(port_of(*back, "api"), 0);
}

TEST_F(SourceKept, AnEmptyDirectoryInItsPlaceIsNoWordToTakeEverythingAway) {
    write(path_ / "web.yaml", service("web", 80));
    start_keeping();
    wait_for_port("web", 80);
    stop();
    fs::rename(path_, top_ / "away");
    fs::create_directory(path_);
    for (int starts = 0; starts < 2; ++starts) {
        start_keeping();
        const auto first = wait(kAny);
        EXPECT_EQ(port_of(*first, "web"), 80);
        EXPECT_NE(first->trouble.find("replaced by an empty one"), std::string::npos) << first->trouble;
        stop();
    }
    start_keeping();
    wait_for_port("web", 80);
    write(path_ / "api.yaml", service("api", 81));
    const auto now = wait_for_port("api", 81);
    EXPECT_EQ(port_of(*now, "web"), 0);
}

TEST_F(SourceKept, FilesThatWereDeletedMeanwhileAreGone) {
    write(path_ / "web.yaml", service("web", 80));
    write(path_ / "api.yaml", service("api", 81));
    start_keeping();
    wait_for_port("web", 80);
    stop();
    fs::remove(path_ / "web.yaml");
    start_keeping();
    EXPECT_EQ(port_of(*wait_for_port("api", 81), "web"), 0);
    stop();
    fs::remove(path_ / "api.yaml");
    start_keeping();
    const auto last = wait(kAny);
    EXPECT_EQ(last->objects.services.size(), 0U);
    EXPECT_EQ(last->trouble, "");
    stop();
    // Nor does anything of them come back.
    fs::remove(path_);
    start_keeping();
    write(top_ / "fresh.yaml", service("fresh", 82));
    fs::create_directory(top_ / "fresh");
    fs::rename(top_ / "fresh.yaml", top_ / "fresh" / "fresh.yaml");
    fs::rename(top_ / "fresh", path_);
    EXPECT_EQ(wait_for_port("fresh", 82)->objects.services.size(), 1U);
    expect_never([](const Snapshot& snapshot) { return port_of(snapshot, "web") != 0; });
}

TEST_F(SourceKept, WhatIsBadAtTheStartLeavesTheObjectAsItWas) {
    write(path_ / "web.yaml", service("web", 80) + "---\n" + service("api", 81));
    write(path_ / "other.yaml", service("other", 82));
    write(path_ / "gone.yaml", service("gone", 83));
    start_keeping();
    wait_for_port("gone", 83);
    stop();
    write(path_ / "web.yaml", service("web", 99999) + "---\n" + service("api", 91));
    write(path_ / "other.yaml", "{ is no YAML");
    fs::remove(path_ / "gone.yaml");
    fs::create_symlink("gone.yaml", path_ / "gone.yaml");  // a loop, which cannot be read
    start_keeping();
    const auto first = wait(kAny);
    EXPECT_EQ(port_of(*first, "web"), 80);
    EXPECT_EQ(port_of(*first, "api"), 91);
    EXPECT_EQ(port_of(*first, "other"), 82);
    EXPECT_EQ(port_of(*first, "gone"), 83);
    EXPECT_EQ(faults_of(*first).size(), 3U);
    stop();
    // And again, for what is kept is what is in force, not what was last read.
    start_keeping();
    EXPECT_EQ(port_of(*wait(kAny), "web"), 80);
}

TEST_F(SourceKept, EndpointsOfSeveralFamiliesAreKeptAsOneDocument) {
    write(path_ / "web.yaml",
          "apiVersion: v1\nkind: Endpoints\nmetadata: {name: web, namespace: apps}\nsubsets:\n"
          "- addresses: [{ip: 10.1.0.1}, {ip: fd00::1}]\n  ports: [{port: 80}]\n");
    start_keeping();
    const auto before = wait(kAny);
    ASSERT_EQ(before->objects.slices.size(), 2U);
    stop();
    fs::rename(path_, top_ / "away");
    start_keeping();
    EXPECT_TRUE(wait(kAny)->objects == before->objects);
}

TEST_F(SourceKept, WhatWasKeptOfAnotherDirectoryIsForgotten) {
    write(path_ / "web.yaml", service("web", 80));
    start_keeping();
    wait_for_port("web", 80);
    stop();
    path_ = top_ / "other";
    start_keeping();
    fs::create_directory(path_);
    EXPECT_EQ(wait(kAny)->objects.services.size(), 0U);
}

}  // namespace
}  // namespace viaduct::source
