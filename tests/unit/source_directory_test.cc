// A directory of manifests as it lives: files come, change, go bad, are renamed over, and the directory
// itself goes and comes back. Everything is waited for with a deadline.
#include <sys/stat.h>

#include "source_bench.h"

namespace viaduct::source {
namespace {

TEST_F(SourceDirectory, ReadsWhatIsThereAndFollowsChanges) {
    write(path_ / "web.yaml", service("web", 80) + "---\n" + service("api", 81));
    write(path_ / "more.json", R"({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "json", "namespace": "apps"}, "spec": {"ports": [{"port": 82}]}})");
    write(path_ / "other.yml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n");
    write(path_ / "README.md", "no manifest");
    write(path_ / ".hidden.yaml", service("hidden", 83));
    fs::create_directory(path_ / "deeper.yaml");
    write(path_ / "deeper.yaml" / "x.yaml", service("deeper", 84));
    start();
    const auto first = wait([](const Snapshot&) { return true; });
    EXPECT_EQ(first->objects.services.size(), 3U);
    EXPECT_EQ(first->files, 3U);
    EXPECT_EQ(first->documents, 3U);
    EXPECT_EQ(first->passed_over, 1U);
    EXPECT_TRUE(first->faults.empty());
    EXPECT_TRUE(first->trouble.empty());
    EXPECT_EQ(to_string(first->objects.services.at({"apps", "api"}).origin()), "web.yaml:7");

    write(path_ / "web.yaml", service("web", 8080));
    const auto second = wait_for_port("web", 8080);
    EXPECT_EQ(port_of(*second, "api"), 0);
    rename_over(path_ / "web.yaml", service("web", 8081));
    wait_for_port("web", 8081);
    fs::remove(path_ / "more.json");
    wait_for_port("json", 0);
    write(path_ / "new.yaml", service("new", 1));
    const auto last = wait_for_port("new", 1);
    EXPECT_EQ(last->files, 3U);
    EXPECT_EQ(source_->latest(), last);
    EXPECT_EQ(port_of(*first, "web"), 80) << "a snapshot that was delivered has changed";
}

TEST_F(SourceDirectory, TellsNothingOfAFileThatSaysTheSame) {
    write(path_ / "web.yaml", service("web", 80));
    start();
    wait_for_port("web", 80);
    rename_over(path_ / "web.yaml", "# a comment\n" + service("web", 80));
    write(path_ / "new.yaml", service("new", 1));
    const auto last = wait_for_port("new", 1);
    EXPECT_EQ(last->objects.services.at({"apps", "web"}).origin().line, 2U);
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(snapshots_.size(), 2U);
}

TEST_F(SourceDirectory, LeavesTheObjectAsItWasWhileItsDocumentIsBad) {
    write(path_ / "web.yaml", service("web", 80) + "---\n" + service("api", 81));
    start();
    wait_for_port("web", 80);
    rename_over(path_ / "web.yaml", service("web", 70000) + "---\n" + service("api", 8181));
    const auto bad = wait_for_port("api", 8181);
    EXPECT_EQ(port_of(*bad, "web"), 80);
    ASSERT_EQ(faults_of(*bad).size(), 1U);
    EXPECT_EQ(faults_of(*bad).front(),
              "web.yaml:5: Service apps/web: spec.ports[0].port is 70000; 1 to 65535 are possible");
    rename_over(path_ / "web.yaml", service("web", 8080) + "---\n" + service("api", 8181));
    EXPECT_TRUE(wait_for_port("web", 8080)->faults.empty());
    // Bad again, and then gone: what is not described any more is not in force.
    rename_over(path_ / "web.yaml", service("web", 70000) + "---\n" + service("api", 8182));
    wait_for_port("api", 8182);
    rename_over(path_ / "web.yaml", service("api", 8182));
    EXPECT_TRUE(wait_for_port("web", 0)->faults.empty());
}

TEST_F(SourceDirectory, KeepsWhatAFileSaidThatIsNoYamlAnyMore) {
    write(path_ / "web.yaml", service("web", 80) + "---\n" + service("api", 81));
    write(path_ / "z.yaml", service("z", 1));
    start();
    wait_for_port("web", 80);
    rename_over(path_ / "web.yaml", "{a: [}\n");
    rename_over(path_ / "z.yaml", service("z", 2));
    const auto bad = wait_for_port("z", 2);
    EXPECT_EQ(port_of(*bad, "web"), 80);
    EXPECT_EQ(port_of(*bad, "api"), 81);
    // One document of two is no YAML: the other applies, and whichever the first was stays.
    rename_over(path_ / "web.yaml", "{a: [}\n---\n" + service("api", 8181));
    const auto half = wait_for_port("api", 8181);
    EXPECT_EQ(port_of(*half, "web"), 80);
    ASSERT_EQ(faults_of(*half).size(), 1U);
    EXPECT_EQ(faults_of(*half).front().rfind("web.yaml:1: is no YAML: ", 0), 0U) << faults_of(*half).front();
    rename_over(path_ / "web.yaml", service("api", 8182));
    const auto good = wait_for_port("api", 8182);
    EXPECT_EQ(port_of(*good, "web"), 0);
    EXPECT_TRUE(good->faults.empty());
}

TEST_F(SourceDirectory, HearsTheFirstOfTwoFilesAboutOneObject) {
    write(path_ / "b.yaml", service("web", 2));
    start();
    wait_for_port("web", 2);
    write(path_ / "c.yaml", service("web", 3));
    const auto twice = wait([](const Snapshot& snapshot) { return !snapshot.faults.empty(); });
    EXPECT_EQ(port_of(*twice, "web"), 2);
    EXPECT_EQ(
        faults_of(*twice).front(),
        "c.yaml:1: Service apps/web is described at b.yaml:1 too, which comes first by name and counts; "
        "take one of both away");
    write(path_ / "a.yaml", service("web", 1));
    EXPECT_EQ(faults_of(*wait_for_port("web", 1)).size(), 2U);
    fs::remove(path_ / "a.yaml");
    EXPECT_EQ(faults_of(*wait_for_port("web", 2)).size(), 1U);
    fs::remove(path_ / "b.yaml");
    EXPECT_TRUE(wait_for_port("web", 3)->faults.empty());
    // A file that is renamed never leaves a gap.
    fs::rename(path_ / "c.yaml", path_ / "d.yaml");
    write(path_ / "marker.yaml", service("marker", 1));
    EXPECT_EQ(to_string(wait_for_port("marker", 1)->objects.services.at({"apps", "web"}).origin()),
              "d.yaml:1");
    expect_never([](const Snapshot& snapshot) { return port_of(snapshot, "web") == 0; });
}

TEST_F(SourceDirectory, StaysInForceWhenTheDirectoryVanishesAndIsTakenUpAgain) {
    write(path_ / "web.yaml", service("web", 80));
    start();
    wait_for_port("web", 80);
    fs::rename(path_, top_ / "elsewhere");
    const auto gone = wait([](const Snapshot& snapshot) { return !snapshot.trouble.empty(); });
    EXPECT_EQ(port_of(*gone, "web"), 80);
    EXPECT_EQ(gone->trouble, "the directory " + path_.string() +
                                 " is not there to be read (No such file or directory); what it said last "
                                 "stays in force until it is back");
    // An empty one in its place takes nothing away either.
    fs::create_directory(path_);
    const auto empty =
        wait([](const Snapshot& snapshot) { return snapshot.trouble.find("empty") != std::string::npos; });
    EXPECT_EQ(port_of(*empty, "web"), 80);
    EXPECT_EQ(source_->trouble(), empty->trouble);
    write(path_ / "new.yaml", service("new", 1));
    const auto back = wait_for_port("new", 1);
    EXPECT_EQ(port_of(*back, "web"), 0);
    EXPECT_TRUE(back->trouble.empty());
    write(path_ / "new.yaml", service("new", 2));
    wait_for_port("new", 2);
}

TEST_F(SourceDirectory, KeepsEverythingWhenTheDirectoryIsRemovedAtOnce) {
    write(path_ / "web.yaml", service("web", 80));
    fs::create_directory_symlink(path_, top_ / "link");
    path_ = top_ / "link";
    start();
    wait_for_port("web", 80);
    // Elsewhere by one rename of the link that the path is.
    fs::create_directory(top_ / "next");
    write(top_ / "next" / "web.yaml", service("web", 81));
    fs::create_directory_symlink(top_ / "next", top_ / "link.new");
    fs::rename(top_ / "link.new", top_ / "link");
    wait_for_port("web", 81);
    fs::remove(top_ / "link");
    const auto gone = wait([](const Snapshot& snapshot) { return !snapshot.trouble.empty(); });
    EXPECT_EQ(port_of(*gone, "web"), 81);
    fs::create_directory_symlink(top_ / "next", top_ / "link");
    EXPECT_EQ(port_of(*wait([](const Snapshot& snapshot) { return snapshot.trouble.empty(); }), "web"), 81);
    expect_never([](const Snapshot& snapshot) { return port_of(snapshot, "web") == 0; });
}

TEST_F(SourceDirectory, WaitsForADirectoryThatIsNotThereYet) {
    fs::remove(path_);
    start();
    const auto until = std::chrono::steady_clock::now() + kDeadline;
    while (source_->trouble().empty() && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    EXPECT_EQ(source_->trouble(), "the directory " + path_.string() +
                                      " is not there to be read (No such file or directory); nothing comes "
                                      "from it until it is there");
    EXPECT_EQ(source_->latest(), nullptr);
    fs::create_directory(path_);
    EXPECT_TRUE(wait([](const Snapshot&) { return true; })->objects.services.empty());
    EXPECT_EQ(source_->trouble(), "");
    write(path_ / "web.yaml", service("web", 80));
    wait_for_port("web", 80);
}

TEST_F(SourceDirectory, FollowsTheSwapOfAMountedConfigMap) {
    const auto publish = [&](const std::string& version, int port) {
        fs::create_directory(path_ / version);
        write(path_ / version / "web.yaml", service("web", port));
        write(path_ / version / "api.yaml", service("api", port));
        fs::create_symlink(version, path_ / "..data_tmp");
        fs::rename(path_ / "..data_tmp", path_ / "..data");
    };
    publish("..2026_1", 1);
    fs::create_symlink("..data/web.yaml", path_ / "web.yaml");
    fs::create_symlink("..data/api.yaml", path_ / "api.yaml");
    start();
    wait_for_port("web", 1);
    for (int version = 2; version < 6; ++version) {
        publish("..2026_" + std::to_string(version), version);
        fs::remove_all(path_ / ("..2026_" + std::to_string(version - 1)));
        wait_for_port("web", version);
    }
    // Both files change at once.
    expect_never(
        [](const Snapshot& snapshot) { return port_of(snapshot, "web") != port_of(snapshot, "api"); });
}

TEST_F(SourceDirectory, FollowsWhatALinkLeadsTo) {
    write(top_ / "far.yaml", service("web", 1));
    fs::create_symlink(top_ / "far.yaml", path_ / "web.yaml");
    start();
    wait_for_port("web", 1);
    write(top_ / "far.yaml", service("web", 23456));
    wait_for_port("web", 23456);
    // A link to nothing is a fault, and takes nothing away.
    fs::remove(top_ / "far.yaml");
    const auto dangling = wait([](const Snapshot& snapshot) { return !snapshot.faults.empty(); });
    EXPECT_EQ(port_of(*dangling, "web"), 23456);
    EXPECT_EQ(faults_of(*dangling).front(),
              "web.yaml: cannot be read (No such file or directory); what it said last stays in force");
}

TEST_F(SourceDirectory, WaitsForWhoeverWritesAFile) {
    write(path_ / "web.yaml", service("web", 80));
    start(1000ms);
    wait_for_port("web", 80);
    {
        // Emptied and written again by and by: at no time is there nothing.
        std::ofstream file(path_ / "web.yaml");
        for (const char c : service("web", 81)) {
            file << c << std::flush;
            std::this_thread::yield();
        }
    }
    wait_for_port("web", 81);
    expect_never([](const Snapshot& s) { return port_of(s, "web") == 0 || !s.faults.empty(); });
    // Who never closes it is not waited for for ever.
    std::ofstream open(path_ / "web.yaml");
    open << service("web", 82) << std::flush;
    wait_for_port("web", 82);
}

TEST_F(SourceDirectory, RefusesWhatIsNoFileOfText) {
    ASSERT_EQ(::mkfifo((path_ / "pipe.yaml").c_str(), 0600), 0);
    write(path_ / "bytes.yaml", std::string("\xff\xfe\x00\x01", 4));
    write(path_ / "web.yaml", service("web", 80));
    start();
    const auto first = wait_for_port("web", 80);
    const auto faults = faults_of(*first);
    ASSERT_EQ(faults.size(), 2U);
    EXPECT_EQ(faults[0].rfind("bytes.yaml:1: is no YAML: ", 0), 0U) << faults[0];
    EXPECT_EQ(faults[1], "pipe.yaml: is no regular file; a file of manifests is wanted");
}

TEST_F(SourceDirectory, LooksAtEverythingWhenTheKernelLostEvents) {
    std::size_t queued = 0;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queued;
    if (queued > 50'000)
        GTEST_SKIP() << "the kernel queues " << queued << " events, more than files are made";
    write(path_ / "web.yaml", service("web", 80));
    start();
    wait_for_port("web", 80);
    std::size_t made = 0;
    {
        // While a listener is at work nobody takes events; each file makes three of them.
        const std::lock_guard busy(mutex_);
        rename_over(path_ / "web.yaml", service("web", 81));
        for (; made < queued / 3 + 1000; ++made)
            write(path_ / ("n" + std::to_string(made) + ".yml"), "");
        write(path_ / "web.yaml", service("web", 82));
        fs::remove(path_ / "n0.yml");
    }
    const auto last = wait([&](const Snapshot& snapshot) { return port_of(snapshot, "web") == 82; });
    EXPECT_EQ(source_->latest()->files, made);
    EXPECT_EQ(last->objects.services.size(), 1U);
}

TEST_F(SourceDirectory, IsNeverHalfWayWhileAFileIsReplacedAgainAndAgain) {
    const auto both = [](int port) { return service("web", port) + "---\n" + service("api", port); };
    write(path_ / "web.yaml", both(1));
    start(1000ms);
    wait_for_port("web", 1);
    for (int port = 2; port < 500; ++port) {
        if (port % 2 == 0) {
            rename_over(path_ / "web.yaml", both(port));
        } else {
            write(path_ / "web.yaml", both(port));
        }
    }
    wait_for_port("web", 499);
    expect_never([](const Snapshot& snapshot) {
        return !snapshot.faults.empty() || port_of(snapshot, "web") == 0 ||
               port_of(snapshot, "web") != port_of(snapshot, "api");
    });
}

TEST_F(SourceDirectory, StopsWhileItIsBusy) {
    for (int i = 0; i < 500; ++i)
        write(path_ / ("s" + std::to_string(i) + ".yaml"), service("s" + std::to_string(i), 80));
    for (int i = 0; i < 20; ++i) {
        start();
        source_->stop();
        source_->stop();
        source_.reset();
    }
}

}  // namespace
}  // namespace viaduct::source
