// The plugin as a runtime runs it, with control's attachments behind it and host-local beside it.
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "api/router.h"
#include "fake_dataplane.h"
#include "pod/routes.h"
#include "reconcile/config_changes.h"
#include "store/config_history.h"

namespace viaduct::pod {
namespace {

using testing::FakeDataplane;
using testing::PrivateNamespace;
using testing::TemporaryDirectory;

std::vector<store::Migration> all_migrations() {
    auto all = store::config_migrations();
    for (const auto* more : {&ipam::migrations(), &migrations()})
        all.insert(all.end(), more->begin(), more->end());
    return all;
}

struct Outcome {
    int status = -1;
    std::string output;
    [[nodiscard]] Json::Value json() const { return parse_json(output, "output"); }
    [[nodiscard]] unsigned code() const { return json()["code"].asUInt(); }
};

struct CniPlugin : ::testing::Test {
    TemporaryDirectory directory;
    FakeDataplane dataplane{directory.path("dataplane.sock")};
    PrivateNamespace ns{directory, "ns1"};
    store::Database database{directory.path("viaduct.db"), all_migrations()};
    reconcile::ConfigSource configuration;
    Attachments attachments{{.run_dir = directory.path("run")}, database, configuration};
    std::unique_ptr<reconcile::Reconciler> reconciler;
    api::Router router;
    std::unique_ptr<http::Server> server;

    void SetUp() override {
        if (::getenv("VIADUCT_CNI") == nullptr) GTEST_SKIP() << "VIADUCT_CNI does not name the plugin";
        reconcile::Options options;
        options.dataplane_socket = directory.path("dataplane.sock");
        reconciler = std::make_unique<reconcile::Reconciler>(
            options, database, std::vector<const reconcile::DesiredSource*>{&configuration, &attachments});
        attachments.use(*reconciler);
        reconciler->start();
        register_routes(router, attachments);
        serve();
    }
    void serve() {
        server = std::make_unique<http::Server>(
            http::ServerOptions{.path = directory.path("control.sock"), .threads = 8},
            [this](http::Request& request) { return router.route(request); });
    }

    std::string config(const std::string& members, const std::string& version = "1.0.0") const {
        return R"({"cniVersion":")" + version + R"(","name":"pods","type":"viaduct","controlSocket":")" +
               directory.path("control.sock") + "\"" + (members.empty() ? "" : "," + members) + "}";
    }
    std::string builtin(const std::string& version = "1.0.0", const std::string& more = {}) const {
        return config(
            R"("ipam":{"type":"viaduct","subnet":"10.1.0.0/29","routes":[{"dst":"0.0.0.0/0"}]})" + more,
            version);
    }
    std::string host_local() const {
        return config(R"("ipam":{"type":"host-local","dataDir":")" + directory.path("leases") +
                      R"(","ranges":[[{"subnet":"10.5.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]})");
    }
    std::size_t host_local_leases() const {
        std::size_t count = 0;
        std::error_code none;
        for (const auto& file : std::filesystem::directory_iterator(directory.path("leases/pods"), none)) {
            count += file.path().filename().string().starts_with("10.5.") ? 1U : 0U;
        }
        return count;
    }

    struct Running {
        pid_t child = -1;
        std::string output_path;
    };
    Running start(const char* command, const std::string& input, const std::string& container = "c1",
                  const std::string& netns = "own", const std::string& path = "/usr/lib/cni") {
        static int number = 0;
        Running running;
        const auto name = directory.path("run-" + std::to_string(++number));
        running.output_path = name + ".out";
        std::ofstream(name + ".in") << input;
        std::vector<std::string> texts{std::string("CNI_COMMAND=") + command, "CNI_CONTAINERID=" + container,
                                       "CNI_NETNS=" + (netns == "own" ? ns.path() : netns), "CNI_IFNAME=eth0",
                                       "CNI_PATH=" + path};
        std::vector<char*> variables;
        for (auto& text : texts)
            variables.push_back(text.data());
        variables.push_back(nullptr);
        std::string plugin = ::getenv("VIADUCT_CNI");
        char* arguments[] = {plugin.data(), nullptr};
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, (name + ".in").c_str(), O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, 1, running.output_path.c_str(), O_WRONLY | O_CREAT, 0600);
        EXPECT_EQ(
            ::posix_spawn(&running.child, plugin.c_str(), &actions, nullptr, arguments, variables.data()), 0);
        posix_spawn_file_actions_destroy(&actions);
        return running;
    }
    static Outcome finish(const Running& running) {
        Outcome outcome;
        int status = 0;
        ::waitpid(running.child, &status, 0);
        outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        std::ifstream file(running.output_path);
        outcome.output.assign(std::istreambuf_iterator<char>(file), {});
        return outcome;
    }
    template <typename... More>
    Outcome run(const char* command, const std::string& input, const More&... more) {
        return finish(start(command, input, more...));
    }
    static std::string with_previous(std::string config, const std::string& result) {
        return config.substr(0, config.size() - 1) + ",\"prevResult\":" + result + "}";
    }
    bool interface_there() const {
        bool there = false;
        ns.run([&] { there = ::if_nametoindex("eth0") != 0; });
        return there;
    }
    /// A plugin that does what `script` says.
    void make_plugin(const std::string& name, const std::string& script) const {
        std::filesystem::create_directories(directory.path("bin"));
        const auto path = directory.path("bin/" + name);
        std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
        ::chmod(path.c_str(), 0755);
    }
};

TEST_F(CniPlugin, GoesThroughAPodsLifeInEachVersion) {
    for (const char* version : {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
        SCOPED_TRACE(version);
        const auto conf = builtin(version);
        const auto added = run("ADD", conf);
        ASSERT_EQ(added.status, 0) << added.output;
        EXPECT_EQ(added.json()["cniVersion"].asString(), version);
        EXPECT_TRUE(interface_there());
        const auto checked = run("CHECK", with_previous(conf, added.output));
        if (std::string(version) < "0.4.0") {
            EXPECT_EQ(checked.code(), 1U);
        } else {
            EXPECT_EQ(checked.status, 0) << checked.output;
            EXPECT_EQ(checked.output, "");
            EXPECT_EQ(run("CHECK", conf).code(), 7U) << "without prevResult";
        }
        for (int i = 0; i < 3; ++i) {
            const auto deleted = run("DEL", conf, "c1", i == 0 ? "own" : "");
            EXPECT_EQ(deleted.status, 0) << deleted.output;
            EXPECT_EQ(deleted.output, "");
        }
        EXPECT_FALSE(interface_there());
    }
}

TEST_F(CniPlugin, DeletesWithoutNamespaceWhileItLives) {
    ASSERT_EQ(run("ADD", builtin()).status, 0);
    EXPECT_EQ(run("DEL", builtin(), "c1", "").status, 0);
    EXPECT_FALSE(interface_there());
}

TEST_F(CniPlugin, SaysTryAgainWhenControlIsAway) {
    server.reset();
    EXPECT_EQ(run("ADD", builtin()).code(), 11U);
    EXPECT_EQ(run("DEL", builtin()).code(), 11U);
    EXPECT_EQ(run("STATUS", builtin("1.1.0")).code(), 50U);
    EXPECT_EQ(run("VERSION", "").status, 0);
}

TEST_F(CniPlugin, RefusesNamespacesThatAreNone) {
    EXPECT_EQ(run("ADD", builtin(), "c1", "/etc/passwd").code(), 4U);
    EXPECT_EQ(run("ADD", builtin(), "c1", "/nowhere").code(), 4U);
    EXPECT_EQ(run("ADD", builtin(), "c1", "/proc/self/ns/net").code(), 4U);
    EXPECT_EQ(run("ADD", builtin(), "c1", "/proc/self/ns/uts").code(), 4U);
}

TEST_F(CniPlugin, TellsStatusTruly) {
    EXPECT_EQ(run("STATUS", builtin("1.0.0")).code(), 1U);
    EXPECT_EQ(run("STATUS", builtin("1.1.0")).status, 0);
    const auto small =
        config(R"("interface":"vhost-user","ipam":{"type":"viaduct","subnet":"10.9.0.0/31"})", "1.1.0");
    EXPECT_EQ(run("ADD", small, "c1").status, 0);
    EXPECT_EQ(run("ADD", small, "c2").status, 0);
    const auto full = run("ADD", small, "c3");
    EXPECT_EQ(full.code(), attachment::kNoAddressLeft) << full.output;
    EXPECT_EQ(run("STATUS", small).code(), 50U);
    dataplane.stop();
    for (int i = 0; i < 1000 && reconciler->status().connected; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_EQ(run("STATUS", builtin("1.1.0")).code(), 51U);
}

TEST_F(CniPlugin, CollectsGarbage) {
    const auto conf = builtin("1.1.0", R"(,"interface":"vhost-user")");
    for (const char* name : {"c1", "c2", "c3"})
        ASSERT_EQ(run("ADD", conf, name).status, 0);
    EXPECT_EQ(run("GC", conf).status, 0);
    EXPECT_EQ(attachments.list().size(), 3U) << "nothing may go when nothing was told";
    EXPECT_EQ(
        run("GC", builtin("1.1.0", R"(,"cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}])"))
            .status,
        0);
    ASSERT_EQ(attachments.list().size(), 1U);
    EXPECT_EQ(attachments.list()[0].request.key.container, "c2");
    EXPECT_EQ(run("GC", builtin("1.1.0", R"(,"cni.dev/attachments":[])")).status, 0);
    EXPECT_TRUE(attachments.list().empty());
}

TEST_F(CniPlugin, DelegatesToHostLocal) {
    if (::access("/usr/lib/cni/host-local", X_OK) != 0) GTEST_SKIP() << "host-local is not installed";
    const auto added = run("ADD", host_local());
    ASSERT_EQ(added.status, 0) << added.output;
    EXPECT_EQ(added.json()["ips"][0]["address"].asString(), "10.5.0.2/24");
    EXPECT_EQ(host_local_leases(), 1U);
    EXPECT_EQ(run("CHECK", with_previous(host_local(), added.output)).status, 0);
    EXPECT_EQ(run("ADD", host_local()).status, 0) << "a second ADD replaces";
    EXPECT_EQ(host_local_leases(), 1U);
    EXPECT_EQ(run("DEL", host_local(), "c1", "").status, 0);
    EXPECT_EQ(host_local_leases(), 0U);
    EXPECT_EQ(run("DEL", host_local(), "c1", "").status, 0);
    EXPECT_TRUE(attachments.owed("pods").empty());
}

TEST_F(CniPlugin, FreesADelegatedAddressWhenTheAddFails) {
    if (::access("/usr/lib/cni/host-local", X_OK) != 0) GTEST_SKIP() << "host-local is not installed";
    dataplane.before = [](const model::Change& change) {
        return change.put.ports.empty() ? Faults{} : Faults{{"ports/x", "is too much"}};
    };
    EXPECT_EQ(run("ADD", host_local()).code(), attachment::kPortRefused);
    EXPECT_EQ(host_local_leases(), 0U);
    EXPECT_TRUE(attachments.owed("pods").empty());
    EXPECT_FALSE(interface_there());
}

TEST_F(CniPlugin, RepairsAKillInTheMiddleOfADelegate) {
    const auto log = directory.path("log");
    const auto conf = config(R"("interface":"vhost-user","ipam":{"type":"slow"})", "1.1.0");
    const auto path = directory.path("bin");
    const auto note = "cat > /dev/null\necho $CNI_COMMAND $CNI_CONTAINERID $$ >> " + log + "\n";
    for (const char* repair : {"ADD", "DEL", "GC"}) {
        SCOPED_TRACE(repair);
        std::filesystem::remove(log);
        make_plugin("slow", note + "test $CNI_COMMAND = DEL || exec sleep 100");
        const auto killed = start("ADD", conf, "c1", "own", path);
        std::string line;
        for (int i = 0; i < 5000 && line.empty(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            std::ifstream file(log);
            if (!std::getline(file, line) || file.eof()) line.clear();
        }
        ASSERT_TRUE(line.starts_with("ADD c1 ")) << line;
        ::kill(killed.child, SIGKILL);
        finish(killed);
        // Its delegate lives on, as an orphan would, until it ends.
        EXPECT_EQ(run("ADD", conf, "c1", "own", path).code(), 11U);
        ASSERT_EQ(::kill(std::stoi(line.substr(7)), SIGKILL), 0);
        make_plugin("slow", note + "test $CNI_COMMAND != ADD || echo '{\"ips\":[]}'");
        EXPECT_EQ(attachments.delegations().of_key({"pods", "c1", "eth0"}, false).size(), 1U);
        for (int i = 0; i < 5000 && attachments.owed("pods").empty(); ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        auto input = conf;
        if (std::string(repair) == "GC") input.replace(input.size() - 1, 1, ",\"cni.dev/attachments\":[]}");
        const auto repaired = run(repair, input, "c1", "own", path);
        EXPECT_EQ(repaired.status, 0) << repaired.output;
        std::ifstream lines(log);
        std::getline(lines, line);
        std::getline(lines, line);
        EXPECT_TRUE(line.starts_with("DEL c1 ")) << "what was left undone comes first, not " << line;
        run("DEL", conf, "c1", "own", path);
        EXPECT_TRUE(attachments.delegations().of_key({"pods", "c1", "eth0"}, false).empty());
    }
}

TEST_F(CniPlugin, PassesADelegatesErrorOn) {
    make_plugin("bad",
                "cat > /dev/null\necho '{\"cniVersion\":\"1.0.0\",\"code\":77,\"msg\":\"no luck\"}'\nexit 1");
    make_plugin("mute", "exit 3");
    const auto path = directory.path("bin");
    const auto failed = run("ADD", config(R"("ipam":{"type":"bad"})"), "c1", "own", path);
    EXPECT_EQ(failed.code(), 77U);
    EXPECT_NE(failed.output.find("no luck"), std::string::npos) << failed.output;
    EXPECT_EQ(run("ADD", config(R"("ipam":{"type":"mute"})"), "c2", "own", path).code(),
              attachment::kDelegateFailed);
    EXPECT_EQ(run("ADD", config(R"("ipam":{"type":"absent"})"), "c3", "own", path).code(),
              attachment::kDelegateFailed);
    EXPECT_EQ(run("DEL", config(R"("ipam":{"type":"bad"})"), "c1", "own", path).code(), 77U);
}

TEST_F(CniPlugin, IsAddedToAChain) {
    const auto conf =
        with_previous(builtin(), R"({"cniVersion":"1.0.0","interfaces":[{"name":"lo","sandbox":"/x"}],
        "ips":[{"address":"127.0.0.1/8","interface":0}]})");
    const auto added = run("ADD", conf);
    ASSERT_EQ(added.status, 0) << added.output;
    EXPECT_EQ(added.json()["interfaces"].size(), 2U);
    EXPECT_EQ(added.json()["ips"][1]["interface"].asInt(), 1);
}

}  // namespace
}  // namespace viaduct::pod
