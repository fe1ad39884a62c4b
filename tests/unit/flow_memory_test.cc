// The flow table's memory over restarts: what is taken over, what is not believed and why, and that nobody
// shares it.
#include "flow/flow_memory.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "flow_bench.h"

namespace viaduct::dataplane {
namespace {

class FlowMemoryTest : public testing::Test {
protected:
    FlowMemoryTest() {
        std::string name = "/dev/shm/vd-flow-memory-XXXXXX";
        directory = ::mkdtemp(name.data());
        options = {.path = (directory / "flows").string(), .entries4 = 1000, .entries6 = 500};
    }
    ~FlowMemoryTest() override { std::filesystem::remove_all(directory); }

    [[nodiscard]] std::string refusal(const FlowMemoryOptions& wanted) const {
        try {
            const FlowMemory memory(wanted);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return {};
    }
    /// Changes bytes of the file as it lies there.
    void overwrite(std::streamoff at, const std::string& bytes) const {
        std::fstream file(options.path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(at);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }

    std::filesystem::path directory;
    FlowMemoryOptions options;
};

TEST_F(FlowMemoryTest, TheNextProcessFindsTheFlows) {
    const auto key4 = numbered_key<FlowKey4>(1);
    const auto key6 = numbered_key<FlowKey6>(2);
    std::uint64_t seed = 0;
    {
        FlowMemory memory(options);
        EXPECT_FALSE(memory.taken_over());
        EXPECT_EQ(memory.distrust(), "");
        EXPECT_NE(memory.seed(), 0U);
        seed = memory.seed();
        FlowTable<FlowKey4> table4(memory.table4(), options.entries4, seed, nullptr);
        FlowTable<FlowKey6> table6(memory.table6(), options.entries6, seed, nullptr);
        enter(table4, key4);
        for (std::uint32_t number = 0; number < options.entries6 / 4; ++number)
            enter(table6, numbered_key<FlowKey6>(number));
    }
    const FlowMemory memory(options);
    ASSERT_TRUE(memory.taken_over()) << memory.distrust();
    EXPECT_EQ(memory.seed(), seed);
    FlowTable<FlowKey4> table4(memory.table4(), options.entries4, seed, nullptr);
    FlowTable<FlowKey6> table6(memory.table6(), options.entries6, seed, nullptr);
    EXPECT_EQ(table4.take_over(0).kept, 1U);
    EXPECT_EQ(table6.take_over(0).dropped, 0U);
    FlowRecord<FlowKey4> record4{};
    FlowRecord<FlowKey6> record6{};
    EXPECT_NE(table4.find(key4, table4.hash(key4), record4), kNoFlow);
    EXPECT_NE(table6.find(key6, table6.hash(key6), record6), kNoFlow);
}

TEST_F(FlowMemoryTest, AllOfItIsThereFromTheStart) {
    const FlowMemory memory(options);
    struct stat file {};
    ASSERT_EQ(::stat(options.path.c_str(), &file), 0);
    EXPECT_EQ(static_cast<std::size_t>(file.st_size), memory.bytes());
    EXPECT_GE(static_cast<std::size_t>(file.st_blocks) * 512, memory.bytes());
    EXPECT_EQ(file.st_mode & 0777, 0600U);
}

TEST_F(FlowMemoryTest, AMillionFlowsFitIntoTheirBar) {
    EXPECT_LT(flow_memory_bytes(1'000'000, 250'000), 215'000'000U);
}

TEST_F(FlowMemoryTest, ASecondProcessIsRefusedByName) {
    const FlowMemory memory(options);
    EXPECT_EQ(refusal(options), "the flow table's memory " + options.path +
                                    " is another process's; stop that one, or give this one a --flow-file of "
                                    "its own");
}

TEST_F(FlowMemoryTest, OtherSizesBeginAnewAndSayWhy) {
    { const FlowMemory memory(options); }
    options.entries4 = 2000;
    {
        const FlowMemory memory(options);
        EXPECT_FALSE(memory.taken_over());
        EXPECT_NE(memory.distrust().find("bytes long, not"), std::string::npos) << memory.distrust();
    }
    const FlowMemory memory(options);
    EXPECT_TRUE(memory.taken_over());
}

TEST_F(FlowMemoryTest, EveryDoubtAboutTheHeadBeginsAnewZeroed) {
    struct Doubt {
        std::streamoff at;
        std::string bytes;
        const char* reason;
    };
    const std::string other("\x77\x77\x77\x07", 4);
    const std::vector<Doubt> doubts = {
        {0, other, "is no flow table, or one that was not finished"},
        {8, other, "is of another version of Viaduct"},
        {12, other, "is of another version of Viaduct"},
        {16, other, "is laid out by another build of Viaduct"},
        {24, other, "is laid out by another build of Viaduct"},
        {28, other, "is for 125269879 IPv4 and 500 IPv6 entries, not for 1000 and 500"},
        {48, other, "is from before the machine's last start"},
    };
    for (const auto& doubt : doubts) {
        {
            const FlowMemory memory(options);
            memory.table4()[100] = std::byte{1};
        }
        overwrite(doubt.at, doubt.bytes);
        const FlowMemory memory(options);
        EXPECT_FALSE(memory.taken_over()) << doubt.reason;
        EXPECT_EQ(memory.distrust(), doubt.reason);
        EXPECT_EQ(memory.table4()[100], std::byte{0}) << doubt.reason;
    }
}

TEST_F(FlowMemoryTest, AShortFileIsNoFault) {
    { const FlowMemory memory(options); }
    std::filesystem::resize_file(options.path, 100);
    const FlowMemory memory(options);
    EXPECT_FALSE(memory.taken_over());
    EXPECT_FALSE(memory.distrust().empty());
}

TEST_F(FlowMemoryTest, PlacesThatDoNotDoAreRefused) {
    auto wanted = options;
    wanted.path = (directory / "none" / "flows").string();
    EXPECT_NE(refusal(wanted).find("cannot be opened: No such file"), std::string::npos);
    wanted.path = "/proc/vd-flows";
    EXPECT_NE(refusal(wanted), "");
    std::filesystem::create_symlink("/dev/shm/vd-elsewhere", directory / "link");
    wanted.path = (directory / "link").string();
    EXPECT_NE(refusal(wanted).find("cannot be opened"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists("/dev/shm/vd-elsewhere"));
    { const FlowMemory memory(options); }
    std::filesystem::permissions(options.path, std::filesystem::perms::others_write,
                                 std::filesystem::perm_options::add);
    EXPECT_NE(refusal(options).find("can be written by another user"), std::string::npos);
}

TEST_F(FlowMemoryTest, ShortMemoryIsSaidAndNothingIsLeft) {
    const auto small = directory / "small";
    std::filesystem::create_directory(small);
    if (::mount("none", small.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
    auto wanted = options;
    wanted.path = (small / "flows").string();
    const auto reason = refusal(wanted);
    const bool left = std::filesystem::exists(wanted.path);
    ::umount2(small.c_str(), MNT_DETACH);
    EXPECT_NE(reason.find("which cannot be had: No space left on device; --flows"), std::string::npos)
        << reason;
    EXPECT_FALSE(left);
}

TEST_F(FlowMemoryTest, ZonesOfNamesStay) {
    Zone red = 0;
    Zone blue = 0;
    {
        FlowMemory memory(options);
        EXPECT_EQ(memory.zone("default"), 0U);
        red = memory.zone("red");
        blue = memory.zone("blue");
        EXPECT_NE(red, blue);
        EXPECT_EQ(memory.zone("red"), red);
    }
    FlowMemory memory(options);
    EXPECT_EQ(memory.zone("blue"), blue);
    EXPECT_EQ(memory.zone(std::string(63, 'x')), 3U);
    EXPECT_EQ(memory.zone("red"), red);
    EXPECT_THROW(memory.zone(std::string(64, 'x')), std::runtime_error);
    EXPECT_THROW(memory.zone(""), std::runtime_error);
}

TEST_F(FlowMemoryTest, ZonesAreGivenAgainWhenNothingNeedsThem) {
    FlowMemory memory(options);
    FlowTable<FlowKey4> table(memory.table4(), options.entries4, memory.seed(), nullptr);
    for (int number = 0; number < 1024; ++number)
        EXPECT_EQ(memory.zone("vrf" + std::to_string(number)), number);
    EXPECT_THROW(memory.zone("one-more"), std::runtime_error) << "all are configured";
    enter(table, numbered_key<FlowKey4>(1, 17, 5));
    std::set<std::string, std::less<>> kept;
    for (int number = 0; number < 1024; ++number) {
        if (number != 5 && number != 900) kept.insert("vrf" + std::to_string(number));
    }
    memory.keep_zones(kept);
    EXPECT_EQ(memory.zone("one-more"), 900U) << "zone 5 still has a flow";
    EXPECT_THROW(memory.zone("yet-another"), std::runtime_error);
    EXPECT_EQ(memory.zone("vrf5"), 5U);
}

TEST_F(FlowMemoryTest, AnonymousMemoryIsNobodyElses) {
    options.path.clear();
    options.seed = 9;
    for (const bool huge : {false, true}) {
        options.huge = huge;
        FlowMemory memory(options);
        EXPECT_FALSE(memory.taken_over());
        EXPECT_EQ(memory.seed(), 9U);
        FlowTable<FlowKey6> table(memory.table6(), options.entries6, memory.seed(), nullptr);
        enter(table, numbered_key<FlowKey6>(1));
        EXPECT_EQ(table.entries(), 2U);
    }
}

}  // namespace
}  // namespace viaduct::dataplane
