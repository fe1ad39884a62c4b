// Captures read and written, whole and broken; and a replay's promise: the same bytes, run after run.
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "viaduct/capture.h"

#include "temporary_directory.h"

namespace viaduct {
namespace {

using test::TemporaryDirectory;

std::string bytes_of(std::initializer_list<std::uint32_t> words, bool swapped = false) {
    std::string text;
    for (auto word : words) {
        if (swapped) word = __builtin_bswap32(word);
        text.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    return text;
}

std::string classic(std::uint32_t magic, bool swapped, std::uint32_t link = 1) {
    return bytes_of({magic, 0x00040002, 0, 0, 65535, link}, swapped) + bytes_of({7, 5, 4, 60}, swapped) +
           "abcd" + bytes_of({8, 0, 2, 2}, swapped) + "ef";
}

TEST(Capture, ClassicFilesOfBothOrdersAndResolutions) {
    for (const bool swapped : {false, true}) {
        for (const auto& [magic, unit] : {std::pair{0xa1b2c3d4U, 1000U}, std::pair{0xa1b23c4dU, 1U}}) {
            const auto frames = read_capture(classic(magic, swapped));
            ASSERT_EQ(frames.size(), 2U);
            EXPECT_EQ(frames[0].nanoseconds, 7'000'000'000U + 5U * unit);
            EXPECT_EQ(frames[0].bytes, (std::vector<std::uint8_t>{'a', 'b', 'c', 'd'}));
            EXPECT_EQ(frames[0].interface, "");
            EXPECT_EQ(frames[1].nanoseconds, 8'000'000'000U);
        }
    }
}

TEST(Capture, WhatIsWrittenIsRead) {
    CaptureWriter writer({"a", "web-1"});
    writer.add(1, 1'234'567'890'123'456'789U, {1, 2, 3, 4, 5});
    writer.add(0, 5, {});
    const auto frames = read_capture(writer.file());
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].interface, "web-1");
    EXPECT_EQ(frames[0].nanoseconds, 1'234'567'890'123'456'789U);
    EXPECT_EQ(frames[0].bytes, (std::vector<std::uint8_t>{1, 2, 3, 4, 5}));
    EXPECT_EQ(frames[1].interface, "a");
    EXPECT_TRUE(frames[1].bytes.empty());
}

TEST(Capture, CutAnywhereItIsRefusedOrShorter) {
    CaptureWriter writer({"a"});
    writer.add(0, 5, {1, 2, 3});
    writer.add(0, 6, {4, 5, 6});
    for (const auto& whole : {writer.file(), classic(0xa1b2c3d4, false)}) {
        for (std::size_t length = 0; length < whole.size(); ++length) {
            try {
                EXPECT_LT(read_capture(whole.substr(0, length)).size(), 2U) << length;
            } catch (const std::runtime_error&) {
            }
        }
    }
}

TEST(Capture, AnyByteMayBeAnything) {
    CaptureWriter writer({"a"});
    writer.add(0, 5, {1, 2, 3});
    for (const auto& whole : {writer.file(), classic(0xa1b23c4d, true)}) {
        for (std::size_t at = 0; at < whole.size(); ++at) {
            for (const char value : {'\0', '\x7f', '\x80', '\xff'}) {
                auto changed = whole;
                changed[at] = value;
                try {
                    EXPECT_LE(read_capture(changed).size(), 2U);
                } catch (const std::runtime_error&) {
                }
            }
        }
    }
    EXPECT_THROW(read_capture(classic(0xa1b2c3d4, false, 101)), std::runtime_error) << "raw IP, not Ethernet";
}

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

class ReplayProcess : public testing::Test {
protected:
    /// The program's exit status.
    int replay(const std::string& out, const std::string& more = "") {
        const auto command = std::string(VIADUCT_REPLAY) + " --config " + directory.file("config") +
                             " --in " + directory.file("in") + " --out " + directory.file(out) + " " + more +
                             " > " + directory.file(out + ".json") + " 2> " + directory.file("errors");
        const int status = std::system(command.c_str());
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    void write(const std::string& name, const std::string& text) {
        std::ofstream(directory.file(name), std::ios::binary) << text;
    }

    TemporaryDirectory directory;
};

TEST_F(ReplayProcess, GivesTheSameBytesRunAfterRun) {
    write("config", R"({"bridges": [{"name": "br0"}], "ports": [
        {"name": "a", "kind": "tap", "ifname": "a", "netns": "/run/netns/x", "bridge": "br0"},
        {"name": "b", "kind": "tap", "ifname": "b", "netns": "/run/netns/x", "bridge": "br0"},
        {"name": "c", "kind": "tap", "ifname": "c", "netns": "/run/netns/x", "bridge": "br0"}]})");
    CaptureWriter in({"b", "a"});
    for (std::uint8_t number = 0; number < 40; ++number) {
        std::vector<std::uint8_t> frame(60, number);
        const bool back = number % 2 == 1;
        frame[0] = 2, frame[5] = back ? 1 : 2;
        frame[6] = 2, frame[11] = back ? 2 : 1;
        for (const auto at : {1, 2, 3, 4, 7, 8, 9, 10})
            frame[static_cast<std::size_t>(at)] = 0;
        in.add(back ? 0 : 1, 1'000'000'000ULL + number * 300'000'000ULL, frame);
    }
    write("in", in.file());
    ASSERT_EQ(replay("one"), 0) << contents(directory.file("errors"));
    ASSERT_EQ(replay("two"), 0);
    EXPECT_EQ(contents(directory.file("one")), contents(directory.file("two")));
    EXPECT_EQ(contents(directory.file("one.json")), contents(directory.file("two.json")));
    const auto frames = read_capture(contents(directory.file("one")));
    // The first is flooded to two ports; then both addresses are known.
    ASSERT_EQ(frames.size(), 41U);
    EXPECT_EQ(frames[0].interface, "b");
    EXPECT_EQ(frames[1].interface, "c");
    EXPECT_EQ(frames[2].interface, "a");
    EXPECT_EQ(frames[2].nanoseconds, 1'300'000'000U);
    EXPECT_EQ(frames[40].bytes.back(), 39);
}

TEST_F(ReplayProcess, FaultsAreSaid) {
    write("config", R"({"ports": [{"name": "a"}]})");
    write("in", "no capture");
    EXPECT_EQ(replay("out"), 1);
    EXPECT_NE(contents(directory.file("errors")).find("too short"), std::string::npos);
    write("in", CaptureWriter({"x"}).file());
    EXPECT_EQ(replay("out"), 2);
    EXPECT_NE(contents(directory.file("errors")).find("kind"), std::string::npos);
    EXPECT_EQ(replay("out", "--speed 3"), 2);
}

}  // namespace
}  // namespace viaduct
