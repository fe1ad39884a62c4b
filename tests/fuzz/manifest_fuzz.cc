// Manifests out of any bytes: each document refused or read, never worse; what was read is the same after it
// was written as JSON or YAML; and files that change one after the other come to what they say in the end.
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include <json/json.h>

#include "viaduct/json.h"

#include "kubernetes/reader.h"
#include "kubernetes/writer.h"
#include "source/manifests.h"

namespace {

using namespace viaduct;

void require(bool holds) {
    if (!holds) std::abort();
}

void require_round_trip(const kubernetes::AnyObject& object) {
    const auto json = kubernetes::to_json(object);
    for (const auto& text : {to_json_text(json), kubernetes::to_yaml_text(json)}) {
        const auto again = kubernetes::read_documents(text, "again");
        require(again.faults.empty() && again.documents.size() == 1);
        const auto& objects = again.documents.front().objects;
        require(objects.size() == 1);
        // Out of Endpoints: told as the one subset of an Endpoints, and so called otherwise.
        const auto* slice = std::get_if<kubernetes::Stored<kubernetes::EndpointSlice>>(&object);
        if (slice == nullptr || !(*slice)->from_endpoints) require(objects.front() == object);
    }
}

/// Pieces of the input between lines of "%%%" are what files a, b, a, b, ... say one after the other.
void follow(std::string_view input) {
    source::Manifests changed;
    std::map<std::string, std::string> last;
    bool sound = true;
    for (int i = 0; i < 6 && !input.empty(); ++i) {
        const auto end = std::min(input.find("\n%%%\n"), input.size());
        const auto name = std::make_shared<const std::string>(i % 2 == 0 ? "a" : "b");
        kubernetes::TextPool pool;
        auto documents = kubernetes::read_documents(input.substr(0, end), name, pool);
        sound = sound && documents.faults.empty();
        if (i == 4) {
            changed.erase(*name);
            (void)changed.snapshot();
        }
        changed.put(name, std::move(documents));
        (void)changed.snapshot();
        last[*name] = input.substr(0, end);
        input.remove_prefix(std::min(end + 5, input.size()));
    }
    if (!sound) return;
    source::Manifests fresh;
    for (const auto& [name, text] : last) {
        auto documents = kubernetes::read_documents(text, name);
        fresh.put(std::make_shared<const std::string>(name), std::move(documents));
    }
    const auto now = changed.snapshot();
    const auto expected = fresh.snapshot();
    require(now.objects == expected.objects && now.faults == expected.faults);
    require(now.documents == expected.documents && now.passed_over == expected.passed_over);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto read = kubernetes::read_documents(input, "input");
    for (const auto& document : read.documents) {
        require(!document.refused || document.objects.empty());
        for (const auto& object : document.objects)
            require_round_trip(object);
    }
    for (const auto& fault : read.faults)
        require(!to_string(fault).empty());
    follow(input);
    return 0;
}
