//! What a worker may do on the machine: next to nothing.

use clb_tests::{Cluster, cluster::expect::container_of};
use serde_json::json;

#[tokio::test]
async fn workers_have_no_rights_and_fixed_limits() {
    let cluster = Cluster::shared().await;
    for worker in cluster.workers().await {
        let found = container_of(&worker).inspect().await;
        let host = &found.host_config;
        assert_eq!(found.config["User"], "65534:65534");
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["Privileged"], false);
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert!(host["CapAdd"].as_array().is_none_or(Vec::is_empty), "{}", host["CapAdd"]);
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
        assert_eq!(host["PidsLimit"], 256);
        assert_eq!(host["Memory"], 256 << 20);
        assert_eq!(host["MemorySwap"], 256 << 20);
        assert_eq!(host["NanoCpus"], 1_000_000_000);
        assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{}", host["Binds"]);
        let ports = host["PortBindings"].as_object().unwrap();
        assert_eq!(ports.len(), 1);
        for binding in ports.values().flat_map(|bindings| bindings.as_array().unwrap()) {
            assert_eq!(
                binding,
                &json!({"HostIp": "127.0.0.1", "HostPort": worker.port.unwrap().to_string()})
            );
        }
        assert_eq!(worker.memory_limit_bytes.unwrap_or(256 << 20), 256 << 20);
    }
}
