// Runs every case under tests/golden/cases/ through viaduct-replay: one for each stage of resolve, from
// packets in to packets out, all as data. Twice, and the bytes must be the same.
//
// A case is {"stage", "title", "config"?, "steps", "drops"?}. Its configuration is router.json with what
// "config" adds or puts in place of objects of the same name or prefix. A step does one thing:
//   {"in": PORT, "packet": LINE, "times": 2, "out": {PORT: LINE or [LINE, ...]}}   each time; ports not named
//   get nothing
//   {"wait": SECONDS, "out": {...}}
// By default a packet is sent twice: the first is resolved, the second executed, and they must not differ.
// "drops" are {PORT: {REASON: COUNT}}, all of them.
// LINE is what describe() of packets.h says; going in it may end with "df", "payload BYTES" and, for TCP,
// "syn".
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/capture.h"
#include "viaduct/json.h"

#include "packets.h"
#include "temporary_directory.h"

namespace viaduct::test {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
/// The router has said by then what it says when it starts.
constexpr std::uint64_t kBegin = 20;
const std::vector<std::string> kPorts{"peer", "pod", "up", "host"};
/// To the router and from the host behind each port of router.json.
const std::map<std::string, std::pair<std::string, std::string>> kMacs{
    {"pod", {"02:00:00:00:01:01", "02:00:00:00:01:02"}},
    {"peer", {"02:00:00:00:01:01", "02:00:00:00:01:03"}},
    {"up", {"02:00:00:00:02:01", "02:00:00:00:02:fe"}},
    {"host", {"02:00:00:00:02:01", "02:00:00:00:02:01"}}};  // has the interface's own

std::string contents(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// "10.0.0.2:53", "[fd00::2]:53" or an address alone.
void read_end(const std::string& text, std::string& address, std::uint16_t& port) {
    const bool bracketed = text.starts_with('[');
    const auto colon = bracketed                             ? text.find("]:") + 1
                       : text.find('.') != std::string::npos ? text.find(':')
                                                             : text.npos;
    address = bracketed ? text.substr(1, colon - 2) : text.substr(0, colon);
    if (colon != std::string::npos) port = static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)));
}

PacketSpec spec_from(const std::string& line) {
    static const std::map<std::string, std::uint8_t> protocols{
        {"icmp", kIcmp}, {"tcp", kTcp}, {"udp", kUdp}, {"icmp6", kIcmp6}, {"sctp", kSctp}};
    const auto open = line.find(" [", line.find(" > ") + 4);
    std::istringstream words(line.substr(0, open));
    PacketSpec spec;
    std::string word;
    std::string from;
    std::string to;
    words >> word >> from;
    spec.protocol = protocols.at(word);
    words >> word >> to;
    read_end(from, spec.source, spec.source_port);
    read_end(to, spec.destination, spec.destination_port);
    while (words >> word) {
        if (word == "df") spec.dont_fragment = true;
        if (word == "syn") spec.tcp_flags = 0x02;
        if (word == "df" || word == "syn") continue;
        std::string value;
        words >> value;
        const auto number = std::stoul(value);
        if (word == "ttl") spec.ttl = static_cast<std::uint8_t>(number);
        if (word == "payload") spec.payload = number;
        if (word == "request" || word == "reply") {
            const bool request = word == "request";
            spec.icmp_type = spec.protocol == kIcmp ? (request ? 8 : 0) : (request ? 128 : 129);
            spec.source_port = static_cast<std::uint16_t>(number);
        }
        if (word == "type") {
            spec.icmp_type = static_cast<std::uint8_t>(number);
            spec.icmp_code = static_cast<std::uint8_t>(std::stoul(value.substr(value.find('/') + 1)));
        }
    }
    if (open != std::string::npos)
        spec.inside = packet(spec_from(line.substr(open + 2, line.size() - open - 3)));
    return spec;
}

std::string key_of(const Json::Value& object) {
    for (const char* key : {"name", "prefix"}) {
        if (object.isMember(key)) return object[key].asString();
    }
    return {};
}

Json::Value config_of(const Json::Value& spec) {
    auto config = parse_json(contents(std::filesystem::path(VIADUCT_GOLDEN) / "router.json"), "router.json");
    for (const auto& kind : spec["config"].getMemberNames()) {
        Json::Value kept(Json::arrayValue);
        const auto& added = spec["config"][kind];
        for (const auto& old : config[kind]) {
            if (std::none_of(added.begin(), added.end(),
                             [&](const auto& one) { return key_of(one) == key_of(old); }))
                kept.append(old);
        }
        for (const auto& one : added)
            kept.append(one);
        config[kind] = kept;
    }
    return config;
}

using Lines = std::map<std::string, std::vector<std::string>>;  ///< by port

Lines lines_of(const Json::Value& out) {
    Lines lines;
    for (const auto& port : out.getMemberNames()) {
        if (out[port].isString()) lines[port].push_back(out[port].asString());
        for (Json::ArrayIndex i = 0; out[port].isArray() && i < out[port].size(); ++i)
            lines[port].push_back(out[port][i].asString());
    }
    return lines;
}

/// What goes in and what has to come out until the next goes in.
struct Moment {
    std::uint64_t time;
    std::string step;
    Lines expected;
};

class Script {
public:
    explicit Script(const Json::Value& spec) : writer_(kPorts) {
        // What is for nobody makes the clock go on.
        for (std::uint64_t second = 0; second < kBegin; ++second)
            idle(second * kSecond);
        for (const auto& step : spec["steps"])
            add(step);
        idle(time_ + 1);
    }
    [[nodiscard]] const std::string& capture() const { return writer_.file(); }

    void compare(const std::vector<CapturedFrame>& frames) const {
        for (std::size_t i = 0; i < moments_.size(); ++i) {
            const auto end = i + 1 < moments_.size() ? moments_[i + 1].time : UINT64_MAX;
            Lines found;
            for (const auto& frame : frames) {
                if (frame.nanoseconds >= moments_[i].time && frame.nanoseconds < end)
                    found[frame.interface].push_back(describe(frame.bytes));
            }
            EXPECT_EQ(found, moments_[i].expected)
                << moments_[i].step << ", at " << moments_[i].time << " ns";
        }
    }

private:
    void idle(std::uint64_t time) { writer_.add(0, time, framed_for_nobody()); }
    /// A runt: counted at its port, for nobody.
    static Bytes framed_for_nobody() { return {1, 2, 3}; }

    void add(const Json::Value& step) {
        const auto text = to_json_text(step);
        if (step.isMember("wait")) {
            moments_.push_back({time_, text, lines_of(step["out"])});
            for (unsigned i = 0; i < step["wait"].asUInt(); ++i)
                idle(time_ += kSecond);
            time_ += kSecond;
            return;
        }
        const auto& port = step["in"].asString();
        const auto& macs = kMacs.at(port);
        const auto frame = routed(spec_from(step["packet"].asString()), macs.first, macs.second);
        const auto place = std::find(kPorts.begin(), kPorts.end(), port) - kPorts.begin();
        for (unsigned i = 0; i < step.get("times", 2).asUInt(); ++i) {
            moments_.push_back({time_, text, lines_of(step["out"])});
            writer_.add(static_cast<std::uint32_t>(place), time_, frame);
            time_ += kSecond / 10;
        }
    }

    CaptureWriter writer_;
    std::uint64_t time_ = kBegin * kSecond;
    std::vector<Moment> moments_;
};

class Golden : public testing::TestWithParam<std::filesystem::path> {
protected:
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(directory.file(name), std::ios::binary) << text;
    }
    void replay(const std::string& out) const {
        const auto command = std::string(VIADUCT_REPLAY) + " --config " + directory.file("config") +
                             " --in " + directory.file("in") + " --out " + directory.file(out) + " > " +
                             directory.file(out + ".json") + " 2> " + directory.file("errors");
        ASSERT_EQ(std::system(command.c_str()), 0) << contents(directory.file("errors"));
    }

    TemporaryDirectory directory;
};

/// By port, without what Script itself makes.
Json::Value drops_of(const Json::Value& counters) {
    Json::Value drops(Json::objectValue);
    for (const auto& port : counters["ports"]) {
        for (const char* side : {"rx_drops", "tx_drops"}) {
            for (const auto& reason : port["counters"][side].getMemberNames()) {
                const auto& count = port["counters"][side][reason];
                if (reason != "runt" && count.asUInt64() != 0) drops[port["name"].asString()][reason] = count;
            }
        }
    }
    return drops;
}

TEST_P(Golden, PacketsComeOutAsTheCaseSaysRunAfterRun) {
    const auto spec = parse_json(contents(GetParam()), GetParam().string());
    SCOPED_TRACE(spec["stage"].asString() + ": " + spec["title"].asString());
    ASSERT_GT(spec["steps"].size(), 0U);
    const Script script(spec);
    write("config", to_json_text(config_of(spec)));
    write("in", script.capture());
    replay("one");
    replay("two");
    if (HasFatalFailure()) return;
    EXPECT_EQ(contents(directory.file("one")), contents(directory.file("two")));
    EXPECT_EQ(contents(directory.file("one.json")), contents(directory.file("two.json")));
    script.compare(read_capture(contents(directory.file("one"))));
    const auto drops = drops_of(parse_json(contents(directory.file("one.json")), "counters"));
    const auto& expected = spec.isMember("drops") ? spec["drops"] : Json::Value(Json::objectValue);
    EXPECT_EQ(to_json_text(drops), to_json_text(expected));
}

std::vector<std::filesystem::path> case_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(VIADUCT_GOLDEN) / "cases"))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

INSTANTIATE_TEST_SUITE_P(Stages, Golden, testing::ValuesIn(case_files()), [](const auto& the_case) {
    auto name = the_case.param.stem().string();
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

}  // namespace
}  // namespace viaduct::test
