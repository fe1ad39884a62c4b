// Labels as they are written outside of manifests.
#include <gtest/gtest.h>

#include "viaduct/labels.h"

namespace viaduct {
namespace {

std::string fault_of(const std::string& text) {
    Faults faults;
    parse_labels(text, "labels", faults);
    return to_string(faults);
}

std::string refusal(const std::function<void()>& what) {
    try {
        what();
    } catch (const Refused& refused) {
        return refused.what();
    }
    return "";
}

TEST(Labels, AreKeysAndValues) {
    Faults faults;
    const auto labels = parse_labels(" app=web, tier = front,,example.com/of=a_b.c-d,none=", "x", faults);
    EXPECT_TRUE(faults.empty()) << to_string(faults);
    EXPECT_EQ(labels,
              (Labels{{"app", "web"}, {"tier", "front"}, {"example.com/of", "a_b.c-d"}, {"none", ""}}));
    EXPECT_EQ(to_string(labels), "app=web,example.com/of=a_b.c-d,none=,tier=front");
    EXPECT_EQ(parse_labels(to_string(labels), "x", faults), labels);
    EXPECT_TRUE(parse_labels("", "x", faults).empty());
    EXPECT_TRUE(faults.empty());
}

TEST(Labels, ThatAreWrongAreTold) {
    EXPECT_EQ(fault_of("web"), "labels: has \"web\", which is not KEY=VALUE such as app=web");
    EXPECT_NE(fault_of("=web").find("has the key \"\""), std::string::npos);
    EXPECT_NE(fault_of("a/b/c=web").find("has the key \"a/b/c\""), std::string::npos);
    EXPECT_NE(fault_of("app=-web").find("has the value \"-web\" for app"), std::string::npos);
    EXPECT_NE(fault_of("app=a,app=b").find("twice"), std::string::npos);
    EXPECT_NE(fault_of("app=" + std::string(64, 'a')).find("63"), std::string::npos);
    EXPECT_NE(fault_of("app=a\x01").find("\"a?\""), std::string::npos);
    EXPECT_NE(fault_of(std::string(kLabelsBytesMost + 1, 'a')).find("longer"), std::string::npos);
    std::string many;
    for (std::size_t i = 0; i <= kLabelsMost; ++i)
        many += "a" + std::to_string(i) + "=,";
    EXPECT_NE(fault_of(many).find("more than 64 labels"), std::string::npos);
}

TEST(LabelChange, SetsAndRemoves) {
    const auto change = parse_label_change({"app=web", "tier-", "note="});
    EXPECT_EQ(change.set, (Labels{{"app", "web"}, {"note", ""}}));
    EXPECT_EQ(change.remove, (std::set<std::string>{"tier"}));
    Labels labels{{"tier", "front"}, {"kept", "yes"}};
    EXPECT_TRUE(viaduct::apply(change, labels));
    EXPECT_EQ(labels, (Labels{{"app", "web"}, {"note", ""}, {"kept", "yes"}}));
    EXPECT_FALSE(viaduct::apply(change, labels)) << "it is done already";
}

TEST(LabelChange, OverwritesOnlyWhenAsked) {
    Labels labels{{"app", "web"}};
    auto change = parse_label_change({"app=shop", "tier=front"});
    EXPECT_EQ(refusal([&] { viaduct::apply(change, labels); }),
              "the label app is \"web\" already; --overwrite makes it \"shop\"");
    EXPECT_EQ(labels, (Labels{{"app", "web"}})) << "nothing of it";
    change.overwrite = true;
    EXPECT_TRUE(viaduct::apply(change, labels));
    EXPECT_EQ(labels, (Labels{{"app", "shop"}, {"tier", "front"}}));
}

TEST(LabelChange, SaysWhatIsNone) {
    EXPECT_EQ(refusal([] { parse_label_change({"app"}); }),
              "\"app\" is no label: KEY=VALUE such as app=web sets one, KEY- removes it");
    EXPECT_NE(refusal([] {
                  parse_label_change({"app=web", "app-"});
              }).find("is there twice"),
              std::string::npos);
    EXPECT_NE(refusal([] { parse_label_change({"-"}); }).find("has the key \"\""), std::string::npos);
    EXPECT_NE(refusal([] { parse_label_change({"app=a b"}); }).find("has the value \"a b\""),
              std::string::npos);
}

}  // namespace
}  // namespace viaduct
