// From units of YAML to documents: which kind each is, what it is called, and whether it is taken.
#include "kubernetes/reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <utility>

#include "kubernetes/names.h"
#include "kubernetes/reading.h"

namespace viaduct::kubernetes {

namespace {

struct KindWords {
    ObjectKind kind;
    std::string_view name;
    std::string_view group;  ///< empty: the core group
    const char* version;     ///< the apiVersion that is read
    const char* list;        ///< its list's kind
    std::string_view plural;
    std::string_view brief;  ///< kubectl's short name
};
constexpr std::array kKinds{
    KindWords{ObjectKind::service, "Service", "", "v1", "ServiceList", "services", "svc"},
    KindWords{ObjectKind::endpoint_slice, "EndpointSlice", "discovery.k8s.io", "discovery.k8s.io/v1",
              "EndpointSliceList", "endpointslices", "eps"},
    KindWords{ObjectKind::endpoints, "Endpoints", "", "v1", "EndpointsList", "endpoints", "ep"},
    KindWords{ObjectKind::pod, "Pod", "", "v1", "PodList", "pods", "po"},
    KindWords{ObjectKind::node, "Node", "", "v1", "NodeList", "nodes", "no"},
};

/// A text of a million wrong lines is no reason to tell a million faults.
constexpr std::size_t kFaultsMost = 1000;

constexpr std::string_view kAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";

/// The same kind of somebody else's API ("serving.knative.dev/v1 Service") is another kind.
bool is_foreign(std::string_view api_version) {
    const auto group = api_version.substr(0, api_version.find('/'));
    return api_version.find('/') != std::string_view::npos && group.find('.') != std::string_view::npos &&
           !group.ends_with(".k8s.io");
}

/// Reads the documents of one text.
class Reading {
public:
    Reading(const std::shared_ptr<const std::string>& file, TextPool& pool) : file_(file), pool_(pool) {}

    Documents read(std::string_view text) {
        yaml::parse(text, {
                              [this](const auto& node, const auto& root) { item(node, root); },
                              [this](const auto& root) { document(root); },
                              [this](const auto& problem) { broken(problem); },
                          });
        if (faults_left_out_ > 0)
            documents_.faults.push_back(
                {file_,
                 0,
                 {},
                 {},
                 "has " + std::to_string(faults_left_out_) + " more faults, which are not told one by one"});
        return std::move(documents_);
    }

private:
    /// What a list's items were, until it is known that it is one.
    struct Items {
        std::vector<Document> documents;
        std::vector<DocumentFault> faults;
        std::uint32_t passed_over = 0;
        std::uint32_t nameless = 0;
    };

    void item(const yaml::Node& node, const yaml::Node& root) {
        Report report;
        const Value list(root, report);
        read_one(node, items_, list["kind"].is_text() ? list["kind"].text_or_empty() : std::string());
    }

    void document(const yaml::Node& root) {
        Items items = std::exchange(items_, {});
        Report report;
        const Value value(root, report);
        const auto kind = value["kind"].is_text() ? value["kind"].text_or_empty() : std::string();
        if (!kind.ends_with("List")) {
            items = {};
            read_one(root, items, {});
        } else {
            // Those of a list that is one have been handed over.
            value["items"].each(0, [](const Value&) {});
            if (!report.empty()) refuse(items, std::nullopt, root.line, kind, report);
        }
        commit(std::move(items));
    }

    void broken(const yaml::Problem& problem) {
        items_ = {};
        add_fault({file_, problem.line, {}, {}, problem.reason});
        ++documents_.nameless;
    }

    void add_fault(DocumentFault fault) {
        if (documents_.faults.size() < kFaultsMost) {
            documents_.faults.push_back(std::move(fault));
        } else {
            ++faults_left_out_;
        }
    }

    void commit(Items items) {
        documents_.passed_over += items.passed_over;
        documents_.nameless += items.nameless;
        for (auto& fault : items.faults)
            add_fault(std::move(fault));
        for (auto& document : items.documents) {
            const auto [first, is_new] = lines_.emplace(document.id, document.line);
            if (is_new) {
                documents_.documents.push_back(std::move(document));
            } else {
                documents_.faults.push_back({file_,
                                             document.line,
                                             to_string(document.id),
                                             {},
                                             "is described at line " + std::to_string(first->second) +
                                                 " already, which counts; take one of both away"});
            }
        }
    }

    /// `list_kind`: of the list that it is an item of; its items may say no kind of their own.
    void read_one(const yaml::Node& root, Items& into, const std::string& list_kind) {
        Report report;
        const Value value(root, report);
        if (root.kind != yaml::Kind::mapping) {
            value.fault("is no object; a manifest begins with apiVersion and kind");
            return refuse(into, std::nullopt, root.line, {}, report);
        }
        auto kind = value["kind"].text_or_empty();
        const bool typed_list = kind.empty() && report.empty() && list_kind != "List" && !list_kind.empty();
        const KindWords* words = nullptr;
        for (const auto& known : kKinds) {
            if (typed_list ? list_kind == known.list : kind == known.name) words = &known;
        }
        if (typed_list && words != nullptr) kind = words->name;
        if (kind.empty() && !typed_list) {
            if (report.empty())
                value["kind"].fault("is missing; a manifest says what it describes (kind: Service)");
            return refuse(into, std::nullopt, root.line, {}, report);
        }
        const auto api_version = typed_list ? std::string() : value["apiVersion"].text_or_empty();
        if (kind == "List" || (words == nullptr && typed_list && root.find("items") != nullptr)) {
            value.fault("is a list within a list; write its items into the outer one");
            return refuse(into, std::nullopt, root.line, kind, report);
        }
        if (words == nullptr || is_foreign(api_version)) {
            ++into.passed_over;
            return;
        }
        if (!typed_list && report.empty() && api_version != words->version)
            value["apiVersion"].fault(
                (api_version.empty() ? "is missing" : "is \"" + api_version.substr(0, 80) + '"') + "; " +
                kind + " is read in " + words->version);
        read_known(value, *words, into, report);
    }

    void read_known(const Value& value, const KindWords& words, Items& into, Report& report) {
        const auto metadata = value.mapping("metadata");
        auto meta = read_meta(metadata, words.kind);
        std::optional<ObjectId> id;
        if (!meta.name.empty()) id = ObjectId{words.kind, meta.namespace_, meta.name};
        Document document;
        if (id) document.id = *id;
        document.line = value.line();
        const Origin origin{file_, document.line};
        const auto add = [&](auto object) {
            document.objects.emplace_back(Stored(std::move(object), origin));
        };
        switch (words.kind) {
            case ObjectKind::service:
                add(read_service(value, std::move(meta)));
                break;
            case ObjectKind::endpoint_slice:
                add(read_slice(value, std::move(meta), pool_));
                break;
            case ObjectKind::endpoints:
                for (auto& slice : read_endpoints(value, meta, pool_))
                    add(std::move(slice));
                break;
            case ObjectKind::pod:
                add(read_pod(value, std::move(meta)));
                break;
            case ObjectKind::node:
                add(read_node(value, std::move(meta)));
                break;
        }
        if (!report.empty())
            return refuse(into, id, document.line, id ? to_string(*id) : std::string(words.name), report);
        into.documents.push_back(std::move(document));
    }

    /// A name is empty where it is missing or wrong; the report says so.
    static ObjectMeta read_meta(const Value& metadata, ObjectKind kind) {
        ObjectMeta meta;
        const auto name = metadata["name"];
        if (name.text_or_empty().empty()) {
            name.fault("is missing; every object has a name");
        } else {
            const bool label = kind == ObjectKind::service;
            meta.name = name.name(label ? is_dns1035_label : is_dns1123_subdomain,
                                  label ? kDns1035LabelWords : kDns1123SubdomainWords)
                            .value_or("");
        }
        if (kind != ObjectKind::node) {
            const auto place = metadata["namespace"];
            meta.namespace_ = place.text_or_empty().empty()
                                  ? "default"
                                  : place.name(is_dns1123_label, kDns1123LabelWords).value_or("");
            if (meta.namespace_.empty()) meta.name.clear();
        }
        meta.labels = metadata["labels"].labels(true).value_or(Labels());
        meta.annotations = metadata["annotations"].labels(false).value_or(Labels());
        meta.annotations.erase(std::string(kAppliedAnnotation));
        meta.deletion = !metadata["deletionTimestamp"].absent();
        return meta;
    }

    void refuse(Items& into, const std::optional<ObjectId>& id, std::uint32_t line, const std::string& object,
                const Report& report) {
        for (const auto& entry : report.entries())
            into.faults.push_back({file_, entry.line, object, entry.field, entry.reason});
        if (!id) {
            ++into.nameless;
            return;
        }
        Document document;
        document.id = *id;
        document.line = line;
        document.refused = true;
        into.documents.push_back(std::move(document));
    }

    std::shared_ptr<const std::string> file_;
    TextPool& pool_;
    Documents documents_;
    std::size_t faults_left_out_ = 0;
    Items items_;
    std::map<ObjectId, std::uint32_t> lines_;
};

}  // namespace

std::string_view to_string(ObjectKind kind) {
    for (const auto& words : kKinds) {
        if (words.kind == kind) return words.name;
    }
    return "?";
}

std::optional<ObjectKind> kind_of(std::string_view name) {
    const auto in_lower_case = [](std::string_view text) {
        std::string made(text);
        std::transform(made.begin(), made.end(), made.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        return made;
    };
    const auto lower = in_lower_case(name);
    for (const auto& words : kKinds) {
        if (lower == in_lower_case(words.name) || lower == words.plural || lower == words.brief)
            return words.kind;
    }
    return std::nullopt;
}

std::string to_string(const ObjectId& id) {
    std::string text(to_string(id.kind));
    text += ' ';
    if (!id.namespace_.empty()) text += id.namespace_ + '/';
    return text + id.name;
}

bool operator==(const DocumentFault& a, const DocumentFault& b) {
    const bool same_file = a.file == b.file || (a.file != nullptr && b.file != nullptr && *a.file == *b.file);
    return same_file && a.line == b.line && a.object == b.object && a.field == b.field &&
           a.reason == b.reason;
}

std::string to_string(const DocumentFault& fault) {
    auto text = to_string(Origin{fault.file, fault.line});
    if (!fault.object.empty()) text += ": " + fault.object;
    if (!fault.field.empty()) return text + ": " + fault.field + ' ' + fault.reason;
    return text + (fault.object.empty() ? ": " : " ") + fault.reason;
}

Documents read_documents(std::string_view text, const std::shared_ptr<const std::string>& file,
                         TextPool& pool) {
    if (text.size() <= kTextBytesMost) return Reading(file, pool).read(text);
    Documents documents;
    documents.faults.push_back({file,
                                0,
                                {},
                                {},
                                "has " + std::to_string(text.size()) + " bytes; at most " +
                                    std::to_string(kTextBytesMost) + " are read"});
    documents.nameless = 1;
    return documents;
}

Documents read_documents(std::string_view text, const std::string& file) {
    TextPool pool;
    return read_documents(text, std::make_shared<const std::string>(file), pool);
}

namespace {

struct Put {
    Objects& objects;
    void operator()(const Stored<Service>& s) const { objects.services.insert_or_assign(key_of(*s), s); }
    void operator()(const Stored<EndpointSlice>& s) const { objects.slices.insert_or_assign(key_of(*s), s); }
    void operator()(const Stored<Pod>& s) const { objects.pods.insert_or_assign(key_of(*s), s); }
    void operator()(const Stored<Node>& s) const { objects.nodes.insert_or_assign(key_of(*s), s); }
};
struct Erase {
    Objects& objects;
    void operator()(const Stored<Service>& s) const { objects.services.erase(key_of(*s)); }
    void operator()(const Stored<EndpointSlice>& s) const { objects.slices.erase(key_of(*s)); }
    void operator()(const Stored<Pod>& s) const { objects.pods.erase(key_of(*s)); }
    void operator()(const Stored<Node>& s) const { objects.nodes.erase(key_of(*s)); }
};

}  // namespace

void put(Objects& objects, const AnyObject& object) {
    std::visit(Put{objects}, object);
}

void erase(Objects& objects, const AnyObject& object) {
    std::visit(Erase{objects}, object);
}

AnyObject moved(const AnyObject& object, const Origin& origin) {
    return std::visit([&](const auto& stored) -> AnyObject { return Stored(*stored, origin); }, object);
}

Objects objects_of(const Documents& documents) {
    Objects objects;
    for (const auto& document : documents.documents) {
        for (const auto& object : document.objects)
            put(objects, object);
    }
    return objects;
}

}  // namespace viaduct::kubernetes
