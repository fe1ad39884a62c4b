// Labels as annotations, CNI's arguments and command lines have them: any bytes are labels by Kubernetes'
// rules, which are read back from what is written of them, or are refused.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "viaduct/labels.h"

using namespace viaduct;

namespace {

void check(const Labels& labels) {
    for (const auto& [key, value] : labels) {
        if (!is_label_key(key) || !is_label_value(value)) std::abort();
    }
    if (labels.size() > kLabelsMost) return;
    Faults faults;
    if (parse_labels(to_string(labels), "again", faults) != labels || !faults.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    Faults faults;
    auto labels = parse_labels(text, "labels", faults);
    check(labels);
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= text.size();) {
        const auto end = std::min(text.find(' ', at), text.size());
        words.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    try {
        const auto change = parse_label_change(words);
        check(change.set);
        apply(change, labels);
        check(labels);
        for (const auto& key : change.remove) {
            if (labels.contains(key)) std::abort();
        }
    } catch (const Refused&) {
        // Refused.
    }
    return 0;
}
