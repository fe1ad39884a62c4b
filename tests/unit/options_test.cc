// The dataplane's options: what they become, and what is said about those that cannot be.
#include "options.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <ostream>

#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "eal.h"
#include "temporary_directory.h"

namespace viaduct::dataplane {
namespace {

Machine machine() {
    Machine machine;
    machine.online_cpus = {0, 1, 2, 3, 4, 5, 6, 7};
    machine.allowed_cpus = {0, 1, 2, 3, 5};
    machine.memory_bytes = 8ULL << 30U;
    return machine;
}

std::optional<Options> read(std::vector<const char*> words) {
    words.insert(words.begin(), "viaduct-dataplane");
    return read_options(static_cast<int>(words.size()), words.data(), machine());
}

/// A file that is gone with the test.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& text)
        : path_(testing::TempDir() + "options-" + std::to_string(::getpid())) {
        std::ofstream(path_) << text;
    }
    ~TemporaryFile() { std::remove(path_.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    [[nodiscard]] const char* path() const { return path_.c_str(); }

private:
    std::string path_;
};

TEST(Options, DefaultsAreOneWorkerOnTheLastCpu) {
    const auto options = read({});
    ASSERT_TRUE(options);
    EXPECT_EQ(options->api_socket, "/run/viaduct/dataplane.sock");
    EXPECT_EQ(options->worker_cpus, std::vector<unsigned>{5});
    EXPECT_EQ(options->other_cpus, (std::vector<unsigned>{0, 1, 2, 3}));
    EXPECT_EQ(options->memory_mb, 256U);
    EXPECT_EQ(options->packet_buffers, 32768U);
    EXPECT_EQ(options->poll, PollMode::adaptive);
    EXPECT_TRUE(options->warnings.empty());
}

TEST(Options, WorkersOnEveryCpuAreWarnedOf) {
    const auto options = read({"--lcores", "0-3,5"});
    ASSERT_TRUE(options);
    EXPECT_EQ(options->other_cpus, machine().allowed_cpus);
    ASSERT_EQ(options->warnings.size(), 1U);
    EXPECT_NE(options->warnings[0].find("every CPU"), std::string::npos);
}

TEST(Options, FlowsAreKeptInAFile) {
    const auto options = read({"--flows", "5000", "--flows6", "2000", "--flow-file", "/dev/shm/x"});
    ASSERT_TRUE(options);
    EXPECT_EQ(options->flows, 5000U);
    EXPECT_EQ(options->flows6, 2000U);
    EXPECT_EQ(options->flow_file, "/dev/shm/x");
    EXPECT_TRUE(options->warnings.empty());
    EXPECT_EQ(read({})->flow_file, "auto");
    EXPECT_EQ(read({"--flow-file", "none"})->flow_file, "");
}

TEST(Options, TheFlowFileIsWhereThereIsRoom) {
    constexpr std::uint64_t kMegabyte = 1U << 20U;
    const test::TemporaryDirectory huge;
    const test::TemporaryDirectory shared;
    const auto chosen = [&](bool huge_pages, std::uint64_t free_mb) {
        auto options = *read({"--memory", "256", "--file-prefix", "abc"});
        options.huge_pages = huge_pages;
        choose_flow_file(options, free_mb * kMegabyte, 100 * kMegabyte, huge.file(""), shared.file(""));
        return options.flow_file;
    };
    EXPECT_EQ(chosen(true, 356), huge.file("/abc-flows"));
    EXPECT_EQ(chosen(true, 355), shared.file("/abc-flows"));
    EXPECT_EQ(chosen(false, 1000), shared.file("/abc-flows"));
    // What an earlier process left is taken over wherever it is.
    std::ofstream(shared.file("/abc-flows")) << "x";
    EXPECT_EQ(chosen(true, 1000), shared.file("/abc-flows"));
    std::ofstream(huge.file("/abc-flows")) << "x";
    EXPECT_EQ(chosen(false, 0), huge.file("/abc-flows"));
}

TEST(Options, TheCommandLineWinsOverTheFile) {
    const TemporaryFile file(R"({"lcores": "1-2", "memory": 512, "poll": "busy", "huge": "off"})");
    const auto options = read({"--config", file.path(), "--memory", "1024"});
    ASSERT_TRUE(options);
    EXPECT_EQ(options->worker_cpus, (std::vector<unsigned>{1, 2}));
    EXPECT_EQ(options->memory_mb, 1024U);
    EXPECT_EQ(options->poll, PollMode::busy);
    EXPECT_EQ(options->huge, HugePages::off);
}

TEST(Options, HugePagesAreUsedWhenThereAreEnough) {
    auto options = *read({});
    choose_huge_pages(options, 256U << 20U);
    EXPECT_TRUE(options.huge_pages);
    EXPECT_TRUE(options.warnings.empty());
    choose_huge_pages(options, (256U << 20U) - 1);
    EXPECT_FALSE(options.huge_pages);
    ASSERT_EQ(options.warnings.size(), 1U);
    EXPECT_NE(options.warnings[0].find("echo 128 > /proc/sys/vm/nr_hugepages"), std::string::npos);
    EXPECT_NE(options.warnings[0].find("255 MB are free"), std::string::npos);
    options.huge = HugePages::on;
    EXPECT_THROW(choose_huge_pages(options, 0), Refused);
    options.huge = HugePages::off;
    choose_huge_pages(options, 1ULL << 40U);
    EXPECT_FALSE(options.huge_pages);
}

TEST(Options, BuffersNeedAPageEachWithoutHugePages) {
    auto options = *read({"--packet-buffers", "60000"});
    choose_huge_pages(options, 256U << 20U);
    EXPECT_TRUE(options.huge_pages);
    try {
        choose_huge_pages(options, 0);
        FAIL() << "was accepted";
    } catch (const Refused& refused) {
        EXPECT_NE(std::string(refused.what()).find("60000 x 4112 bytes (without huge pages) = 236 MB"),
                  std::string::npos)
            << refused.what();
    }
    EXPECT_THROW(read({"--packet-buffers", "60000", "--huge", "off"}), Refused);
}

TEST(Options, EalIsGivenWorkersOnTheirCpusAndNoFilesToLeaveBehind) {
    auto options = *read({"--lcores", "3,1", "--memory", "300"});
    options.huge_pages = true;
    auto arguments = eal_arguments(options);
    const auto has = [&](const std::string& word) {
        return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
    };
    EXPECT_TRUE(has("--lcores=0@(0,2,5),1@3,2@1"));
    EXPECT_TRUE(has("--in-memory"));
    EXPECT_FALSE(has("--no-huge"));
    EXPECT_TRUE(has("--socket-limit=300"));
    options.huge_pages = false;
    arguments = eal_arguments(options);
    EXPECT_TRUE(has("300"));
    EXPECT_TRUE(has("--no-huge"));
    EXPECT_TRUE(has("--no-shconf"));
    EXPECT_FALSE(has("--in-memory"));
}

TEST(Options, CpusAreReadAndWritten) {
    EXPECT_EQ(parse_cpus("2-4,9,7"), (std::vector<unsigned>{2, 3, 4, 9, 7}));
    for (const auto* text :
         {"", ",", "1,", "-1", "1-", "3-2", "1 2", "0x1", "4096", "0-99999999999", "1,,2", "+1"}) {
        EXPECT_FALSE(parse_cpus(text)) << text;
    }
    EXPECT_EQ(cpus_text({0, 2, 3, 4, 8}), "0,2-4,8");
    EXPECT_EQ(cpus_text({}), "");
}

struct Hostile {
    const char* name;
    std::vector<const char*> words;
    const char* says;  ///< a part of the sentence
};
void PrintTo(const Hostile& hostile, std::ostream* out) {
    *out << hostile.name;
}

class HostileOptions : public testing::TestWithParam<Hostile> {};

TEST_P(HostileOptions, AreRefusedInOneSentence) {
    try {
        read(GetParam().words);
        FAIL() << "was accepted";
    } catch (const Refused& refused) {
        EXPECT_NE(std::string(refused.what()).find(GetParam().says), std::string::npos) << refused.what();
        EXPECT_EQ(refused.faults().size(), 1U);
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, HostileOptions,
    testing::ValuesIn(std::vector<Hostile>{
        {"UnknownOption", {"--foo"}, "--foo"},
        {"Positional", {"start"}, "positional"},
        {"LcoreThatIsNotThere", {"--lcores", "8"}, "--lcores: names CPU 8; this machine has CPUs 0-7"},
        {"LcoreThatIsNotAllowed", {"--lcores", "4"}, "which this process may not use; it may use CPUs 0-3,5"},
        {"LcoreTwice", {"--lcores", "1,1"}, "twice"},
        {"LcoreNoNumber", {"--lcores", "one"}, "must be CPUs such as"},
        {"LcoreRangeWithoutEnd", {"--lcores", "0-4294967296"}, "must be CPUs such as"},
        {"LcoreMask", {"--lcores", "0x3"}, "must be CPUs such as"},
        {"LcoresTwice", {"--lcores", "1", "--lcores", "2"}, "more than once"},
        {"MemoryNone", {"--memory", "0"}, "--memory: must be a whole number from 1"},
        {"MemoryNegative", {"--memory", "-1"}, "not \"-1\""},
        {"MemoryUnit", {"--memory", "1G"}, "not \"1G\""},
        {"MemoryOverflow", {"--memory", "99999999999999999999"}, "must be a whole number"},
        {"MemoryOverMachine", {"--memory", "8193"}, "this machine has 8192 MB"},
        {"BuffersNone", {"--packet-buffers", "0"}, "--packet-buffers: must be a whole number from 1024"},
        {"BuffersTooMany", {"--packet-buffers", "200000"}, "200000 x 2384 bytes = 455 MB"},
        {"MemoryTooLittle", {"--memory", "16"}, "must be more than 32"},
        {"FlowsNone", {"--flows", "0"}, "--flows"},
        {"Flows6None", {"--flows6", "0"}, "--flows6"},
        {"FlowFileEmpty", {"--flow-file", ""}, "--flow-file"},
        {"HugeWord", {"--huge", "yes"}, "must be one of auto, on, off"},
        {"PollWord", {"--poll", "lazy"}, "must be one of adaptive, busy"},
        {"LogLevel", {"--log-level", "loud"}, "must be one of trace"},
        {"DpdkLogLevel", {"--dpdk-log-level", "8"}, "must be one of emergency"},
        {"FilePrefixPath", {"--file-prefix", "../x"}, "--file-prefix"},
        {"SocketEmpty", {"--api-socket", ""}, "--api-socket"},
        {"SocketTooLong",
         {"--api-socket",
          "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaa"},
         "1 to 107 bytes"},
        {"NoSuchFile", {"--config", "/nonexistent.json"}, "cannot open"},
    }),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Options, FilesAreRefusedByKey) {
    const struct {
        const char* text;
        const char* says;
    } cases[] = {
        {R"({"memry": 1})", "\"memry\": is not an option"},
        {R"({"memory": -1})", "--memory"},
        {R"({"memory": {}})", "must be a string, a number"},
        {R"({"memory": 256)", "is not JSON"},
        {R"({"memory": 1, "memory": 2})", "is not JSON"},
        {"[]", "must be an object"},
        {"", "is not JSON"},
    };
    for (const auto& one : cases) {
        const TemporaryFile file(one.text);
        try {
            read({"--config", file.path()});
            ADD_FAILURE() << "was accepted: " << one.text;
        } catch (const Refused& refused) {
            EXPECT_NE(std::string(refused.what()).find(one.says), std::string::npos) << refused.what();
        }
    }
}

}  // namespace
}  // namespace viaduct::dataplane
