// Runs every case under tests/dataplane/cases/: a configuration, frames in, frames out, drops, all as data.
//
// A case file is {"title", "workers"?, "config": {transaction's "put"}, "steps": [...]}. A step does one
// thing:
//   {"in": PORT, "frame": FRAME, "out": {PORT: FRAME or [FRAME, ...]}}    all outputs; ports not named get
//   nothing
//   {"advance": SECONDS}  {"change": {transaction}}  {"link": PORT, "up": BOOL}
//   {"drops": {PORT: {REASON: COUNT}}}                                   totals since the start; exact
// FRAME is "DST SRC [vlan=ID[/PRIORITY]]... [type=HEX] [size=BYTES]" with addresses shortened to their last
// byte
// ("01" is 02:00:00:00:00:01) or whole; an output may be "same" for the frame that went in.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/json.h"

#include "bench.h"

namespace viaduct::test {

namespace {

Json::Value read_case(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return parse_json(text.view(), path.string());
}

std::string whole_mac(const std::string& text) {
    return text.size() == 2 ? "02:00:00:00:00:" + text : text;
}

Bytes frame_from(const std::string& text) {
    std::istringstream words(text);
    FrameSpec spec;
    words >> spec.destination >> spec.source;
    spec.destination = whole_mac(spec.destination);
    spec.source = whole_mac(spec.source);
    std::string word;
    while (words >> word) {
        const auto equals = word.find('=');
        const auto key = word.substr(0, equals);
        const auto value = word.substr(equals + 1);
        if (key == "vlan") {
            const auto slash = value.find('/');
            const auto priority = slash == std::string::npos ? 0UL : std::stoul(value.substr(slash + 1));
            spec.vlans.push_back(static_cast<std::uint16_t>(std::stoul(value) | priority << 13));
        } else if (key == "type") {
            spec.ethertype = static_cast<std::uint16_t>(std::stoul(value, nullptr, 16));
        } else if (key == "size") {
            spec.size = std::stoul(value);
        } else {
            throw std::runtime_error("unknown word in a frame: " + word);
        }
    }
    auto bytes = frame(spec);
    if (spec.size < bytes.size()) bytes.resize(spec.size);
    // The payload says which frame it was, whatever tags are pushed or popped on the way.
    const std::size_t header = 12 + 4 * spec.vlans.size() + 2;
    for (std::size_t i = header; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::uint8_t>(i - header);
    return bytes;
}

class CaseRun {
public:
    explicit CaseRun(const Json::Value& spec) : bench_({.workers = spec.get("workers", 1).asUInt()}) {
        Json::Value put;
        put["put"] = spec["config"];
        bench_.apply_json(to_json_text(put));
    }

    void step(const Json::Value& step) {
        if (step.isMember("in")) return exchange(step);
        if (step.isMember("advance")) return bench_.advance_clock(step["advance"].asUInt());
        if (step.isMember("change")) return bench_.apply_json(to_json_text(step["change"]));
        if (step.isMember("link")) {
            bench_.wire(step["link"].asString()).set_link(step["up"].asBool());
            return bench_.dataplane().tick();
        }
        if (step.isMember("drops")) return check_drops(step["drops"]);
        ADD_FAILURE() << "a step of no known kind: " << to_json_text(step);
    }

private:
    void exchange(const Json::Value& step) {
        const auto in = frame_from(step["frame"].asString());
        bench_.inject(step["in"].asString(), in);
        for (const auto& state : bench_.dataplane().ports()) {
            std::vector<Bytes> expected;
            const auto& out = step["out"][state.port.name];
            const auto add = [&](const Json::Value& text) {
                expected.push_back(text.asString() == "same" ? in : frame_from(text.asString()));
            };
            if (out.isString()) add(out);
            for (Json::ArrayIndex i = 0; out.isArray() && i < out.size(); ++i)
                add(out[i]);
            EXPECT_EQ(bench_.collect(state.port.name), expected) << "at port " << state.port.name;
        }
    }

    void check_drops(const Json::Value& spec) {
        for (const auto& state : bench_.dataplane().ports()) {
            Json::Value found(Json::objectValue);
            for (std::size_t i = 0; i < kDropReasonCount; ++i) {
                const auto drop = static_cast<dataplane::Drop>(i);
                const auto count = bench_.drops(state.port.name, drop);
                if (count == 0) continue;
                const auto prefix = dataplane::is_receive_side(drop) ? "" : "tx_";
                found[prefix + std::string(dataplane::reason(drop).name)] = Json::UInt64(count);
            }
            const auto& expected = spec[state.port.name];
            EXPECT_EQ(to_json_text(found), expected.isNull() ? "{}" : to_json_text(expected))
                << "at port " << state.port.name;
        }
    }

    static constexpr std::size_t kDropReasonCount = dataplane::kDropReasons;
    Bench bench_;
};

class Case : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Case, GivesTheFramesThatItSays) {
    const auto spec = read_case(GetParam());
    SCOPED_TRACE(GetParam().filename().string() + ": " + spec["title"].asString());
    ASSERT_GT(spec["steps"].size(), 0U);
    CaseRun run(spec);
    for (Json::ArrayIndex i = 0; i < spec["steps"].size(); ++i) {
        SCOPED_TRACE("step " + std::to_string(i) + ": " + to_json_text(spec["steps"][i]));
        run.step(spec["steps"][i]);
        if (testing::Test::HasFailure()) return;
    }
}

std::vector<std::filesystem::path> case_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(VIADUCT_CASES)) {
        if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

INSTANTIATE_TEST_SUITE_P(Cases, Case, testing::ValuesIn(case_files()), [](const auto& the_case) {
    auto name = the_case.param.stem().string();
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
    return name;
});

}  // namespace

}  // namespace viaduct::test
