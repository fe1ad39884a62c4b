// Which pod an attachment is of, and the labels by which services choose it. They are kept with the
// attachment: a restart keeps them, and they go with it.
#include <deque>

#include <spdlog/spdlog.h>

#include "pod/attachments.h"
#include "pod/failure.h"
#include "store/config_history.h"

namespace viaduct::pod {

namespace {

std::string label_of(const Record& record, const char* key) {
    const auto found = record.request.labels.find(key);
    return found == record.request.labels.end() ? std::string() : found->second;
}

/// What the attachment's labels become: its pod's others may have some of their own.
Record relabelled(Record record, const LabelChange& change) {
    auto all = change;
    all.overwrite = true;
    viaduct::apply(all, record.request.pod_labels);
    return record;
}

}  // namespace

PodName pod_of(const Record& record) {
    // Runtimes without namespaces say an empty one.
    PodName pod{label_of(record, "K8S_POD_NAMESPACE"), label_of(record, "K8S_POD_NAME")};
    if (pod.namespace_.empty()) pod.namespace_ = "default";
    if (pod.name.empty()) pod.name = label_of(record, "name");
    if (pod.name.empty()) pod.name = record.request.key.container;
    return pod;
}

std::string to_string(const PodName& pod) {
    return pod.namespace_ + "/" + pod.name;
}

std::map<PodName, Pod> Attachments::pods() const {
    std::map<PodName, Pod> pods;
    const std::scoped_lock lock(mutex_);
    for (const auto& [key, record] : records_) {
        if (record.state != State::ready) continue;
        auto& pod = pods[pod_of(record)];
        for (const auto& own : record.attached.addresses)
            pod.addresses.push_back(own.address.address);
        pod.labels.insert(record.request.pod_labels.begin(), record.request.pod_labels.end());
    }
    return pods;
}

Labels Attachments::label(const PodName& pod, const LabelChange& change) {
    // Sorted as all() is, so that nobody waits for who waits for him.
    std::deque<Turn> turns;
    for (const auto& record : list()) {
        if (pod_of(record) == pod) turns.emplace_back(*this, record.request.key);
    }
    std::vector<Record> records;
    for (const auto& record : list()) {
        if (record.state == State::ready && pod_of(record) == pod) records.push_back(record);
    }
    if (records.empty()) {
        throw Failure(attachment::kUnknownContainer,
                      "no pod " + to_string(pod) + " is attached here; \"viaduct pod\" lists those that are");
    }
    Labels labels;
    for (const auto& record : records)
        labels.insert(record.request.pod_labels.begin(), record.request.pod_labels.end());
    if (!viaduct::apply(change, labels)) return labels;
    save_labels(records, change);
    spdlog::info("pod {} has the labels {}", to_string(pod), viaduct::to_string(labels));
    if (changed_) changed_();
    return labels;
}

/// All of a pod's attachments, or none.
void Attachments::save_labels(const std::vector<Record>& records, const LabelChange& change) {
    store::Transaction tx(database_);
    std::vector<store::ObjectChange> history;
    std::vector<Record> after;
    for (const auto& record : records) {
        const auto& now = after.emplace_back(relabelled(record, change));
        save(tx, now);
        history.push_back({"attachments/" + attachment::to_string(record.request.key), history_text(record),
                           history_text(now)});
    }
    store::record(tx, store::kAttachment, "label", history);
    const std::scoped_lock lock(mutex_);
    tx.commit();
    for (const auto& now : after) {
        const auto found = records_.find(now.request.key);
        if (found != records_.end()) found->second.request.pod_labels = now.request.pod_labels;
    }
}

}  // namespace viaduct::pod
