"""A small client of the container runtime interface (CRI), which makes pods the way a kubelet does.

The interface's api.proto comes from the Debian source of containerd; its gogoproto options, which are for Go,
are taken out and protoc makes Python of it in the cache directory.
"""
import importlib.util
import re
import shutil
import sys

from . import debian_source, image, process, workdir

API = "vendor/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto"
CALL_SECONDS = 60


def _without_gogoproto(text):
    text = re.sub(r'^import "github.com/gogo/.*\n', "", text, flags=re.M)
    text = re.sub(r"^option \(gogoproto\..*\n", "", text, flags=re.M)
    return re.sub(r"\s*\[\(gogoproto\.[^\]]*\]", "", text)


def load():
    """The generated module with the messages; debian_source.Unavailable if it cannot be had."""
    try:
        import google.protobuf  # noqa: F401  (Debian's python3-protobuf)
        import grpc  # noqa: F401
    except ImportError as error:
        needs = f"the CRI needs python3-grpcio and python3-protobuf: {error}"
        raise debian_source.Unavailable(needs) from None
    if not shutil.which("protoc"):
        raise debian_source.Unavailable("the CRI needs protoc (package protobuf-compiler)")
    directory = workdir.cache_directory() / "cri"
    generated = directory / "vd_cri_pb2.py"
    if not generated.exists():
        source = debian_source.fetch("containerd") / API
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "vd_cri.proto").write_text(_without_gogoproto(source.read_text()))
        process.run(["protoc", f"--proto_path={directory}", f"--python_out={directory}", "vd_cri.proto"])
    if "vd_cri_pb2" not in sys.modules:
        spec = importlib.util.spec_from_file_location("vd_cri_pb2", generated)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["vd_cri_pb2"] = module
    return sys.modules["vd_cri_pb2"]


class Cri:
    """Pods on a Containerd (containerd.py) that runs."""

    def __init__(self, containerd):
        import grpc

        self.containerd = containerd
        self.messages = load()
        self.channel = grpc.insecure_channel(f"unix://{containerd.socket}")
        self.pods = {}  # pod id -> its configuration
        process.wait_until(self.network_ready, 30, "the CRI to be ready for pods", interval=0.1,
                           tell=containerd.daemon.tail)

    def call(self, name, service="RuntimeService", **fields):
        """One unary call: call("StopPodSandbox", pod_sandbox_id=…). Raises grpc.RpcError when it fails."""
        method = self.messages.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        request = getattr(self.messages, method.input_type.name)(**fields)
        answer = getattr(self.messages, method.output_type.name)
        stub = self.channel.unary_unary(f"/runtime.v1.{service}/{name}",
                                        request_serializer=lambda message: message.SerializeToString(),
                                        response_deserializer=answer.FromString)
        return stub(request, timeout=CALL_SECONDS)

    def network_ready(self):
        conditions = {each.type: each.status for each in self.call("Status").status.conditions}
        return conditions.get("RuntimeReady") and conditions.get("NetworkReady")

    def run_pod(self, name, port_mappings=(), annotations=None):
        """RunPodSandbox; `port_mappings`: (host port, container port) pairs. Returns the pod's id."""
        mappings = [self.messages.PortMapping(host_port=host, container_port=inside)
                    for host, inside in port_mappings]
        config = self.messages.PodSandboxConfig(
            metadata=self.messages.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
            hostname=name, log_directory=str(self.containerd.directory / "pod-logs"), port_mappings=mappings,
            annotations=annotations or {},
            linux=self.messages.LinuxPodSandboxConfig(cgroup_parent=f"/{self.containerd.isolation.cgroup}"))
        pod = self.call("RunPodSandbox", config=config).pod_sandbox_id
        self.pods[pod] = config
        return pod

    def pod_status(self, pod):
        return self.call("PodSandboxStatus", pod_sandbox_id=pod, verbose=True).status

    def pod_address(self, pod):
        return self.pod_status(pod).network.ip

    def start_container(self, pod, name, *command):
        """CreateContainer and StartContainer; returns the container's id."""
        config = self.messages.ContainerConfig(
            metadata=self.messages.ContainerMetadata(name=name), log_path=f"{name}.log",
            image=self.messages.ImageSpec(image=image.NAME),
            command=list(command or ["/bin/sleep", "1000000"]),
            linux=self.messages.LinuxContainerConfig())
        container = self.call("CreateContainer", pod_sandbox_id=pod, config=config,
                              sandbox_config=self.pods[pod]).container_id
        self.call("StartContainer", container_id=container)
        return container

    def exec(self, container, *command, check=True):
        """ExecSync; the answer has stdout, stderr (bytes) and exit_code."""
        answer = self.call("ExecSync", container_id=container, cmd=list(command), timeout=30)
        if check and answer.exit_code != 0:
            raise process.Failed(f"{' '.join(command)} in the container: exit status {answer.exit_code}\n"
                                 f"{answer.stdout.decode()}{answer.stderr.decode()}")
        return answer

    def stop_pod(self, pod):
        self.call("StopPodSandbox", pod_sandbox_id=pod)

    def remove_pod(self, pod):
        """Stops a pod if that has not been done and removes it, as a kubelet would: two calls, more DELs."""
        self.stop_pod(pod)
        self.call("RemovePodSandbox", pod_sandbox_id=pod)
        self.pods.pop(pod, None)

    def close(self):
        for pod in list(self.pods):
            try:
                self.remove_pod(pod)
            except Exception:  # grpc.RpcError or process.Failed: the rest ends with the isolation
                pass
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
