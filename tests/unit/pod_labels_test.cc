// Pods' names and labels, which are kept with their attachments.
#include "pod_bench.h"

namespace viaduct::pod {
namespace {

TEST_F(PodAttachments, LabelsOutliveARestartAndGoWithTheAttachment) {
    auto asked = tap("c1");
    asked.pod_labels = {{"app", "web"}};
    asked.labels = {{"K8S_POD_NAMESPACE", "apps"}, {"K8S_POD_NAME", "web-1"}};
    (*control)->add(asked, open());
    const PodName pod{"apps", "web-1"};
    int told = 0;
    (*control)->on_change([&] { ++told; });
    EXPECT_EQ((*control)->label(pod, parse_label_change({"tier=front"})),
              (Labels{{"app", "web"}, {"tier", "front"}}));
    EXPECT_EQ(told, 1);
    EXPECT_THROW((*control)->label(pod, parse_label_change({"app=shop", "more=x"})), Refused);
    EXPECT_EQ((*control)->label(pod, parse_label_change({"absent-"})).size(), 2U);
    EXPECT_EQ(told, 1) << "nothing has changed";
    const auto nobody = code_of([&] { (*control)->label({"default", "web-1"}, {}); });
    EXPECT_EQ(nobody, attachment::kUnknownContainer);
    control.reset();
    control.emplace(directory);
    const auto pods = (*control)->pods();
    ASSERT_EQ(pods.size(), 1U);
    EXPECT_EQ(pods.at(pod).labels, (Labels{{"app", "web"}, {"tier", "front"}}));
    ASSERT_EQ(pods.at(pod).addresses.size(), 1U);
    EXPECT_EQ(pods.at(pod).addresses[0].to_string(), "10.1.0.2");
    EXPECT_TRUE((*control)->remove(asked.key, open()));
    EXPECT_TRUE((*control)->pods().empty());
    asked.pod_labels.clear();
    (*control)->add(asked, open());
    EXPECT_TRUE((*control)->pods().at(pod).labels.empty()) << "another pod";
}

TEST_F(PodAttachments, APodIsNamedByItsContainerWhereNobodyNamesIt) {
    const auto asked = tap("c1");
    (*control)->add(asked, open());
    auto second = tap("c1");
    second.key.ifname = "eth1";
    second.labels = {{"K8S_POD_NAMESPACE", ""}};
    (*control)->add(second, open());
    const auto pods = (*control)->pods();
    ASSERT_EQ(pods.size(), 1U);
    EXPECT_EQ(to_string(pods.begin()->first), "default/c1");
    EXPECT_EQ(pods.begin()->second.addresses.size(), 2U);
    // Both attachments are the pod's.
    (*control)->label({"default", "c1"}, parse_label_change({"app=web"}));
    EXPECT_TRUE((*control)->remove(asked.key, open()));
    EXPECT_EQ((*control)->pods().begin()->second.labels, (Labels{{"app", "web"}}));
    (*control)->label({"default", "c1"}, parse_label_change({"app-"}));
    EXPECT_TRUE((*control)->pods().begin()->second.labels.empty());
}

}  // namespace
}  // namespace viaduct::pod
