//! A Kubernetes API in memory, with workload controllers, a kubelet, traffic and faults.
