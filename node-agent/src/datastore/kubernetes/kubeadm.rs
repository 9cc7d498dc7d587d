//! kubeadm's ConfigMap, which knows the cluster's pod CIDR.

use anyhow::{Context, anyhow};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;

use super::words;

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClusterConfiguration {
    networking: Networking,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    pod_subnet: String,
}

/// Asks for `networking.podSubnet` of `kube-system/kubeadm-config`: one range, or one of each
/// family. None where the cluster was not made by kubeadm.
///
/// # Errors
/// The API server does not answer or does not let us read it, or it is not understood.
pub async fn pod_subnets(client: &Client) -> anyhow::Result<Option<Vec<IpNetwork>>> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let Some(map) =
        maps.get_opt("kubeadm-config").await.map_err(|error| anyhow!(words::request(&error)))?
    else {
        return Ok(None);
    };
    let text = map.data.as_ref().and_then(|data| data.get("ClusterConfiguration"));
    let text = text.ok_or_else(|| anyhow!("it has no ClusterConfiguration"))?;
    parse(text).map(Some)
}

fn parse(text: &str) -> anyhow::Result<Vec<IpNetwork>> {
    let configuration: ClusterConfiguration = serde_saphyr::from_str(text)?;
    let subnets = configuration.networking.pod_subnet;
    let subnets = subnets.split(',').map(str::trim).filter(|subnet| !subnet.is_empty());
    subnets
        .map(|subnet| {
            let subnet: IpNetwork =
                subnet.parse().with_context(|| format!("podSubnet {subnet:?}"))?;
            Ok(IpNetwork::new(subnet.network(), subnet.prefix())?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn subnets(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_pod_subnets_are_found_among_all_else() {
        let text = "
apiServer: {timeoutForControlPlane: 4m0s}
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16,fd00:10:244::/56
  serviceSubnet: 10.96.0.0/12
";
        assert_eq!(subnets(text), ["10.244.0.0/16", "fd00:10:244::/56"]);
        assert_eq!(subnets("networking: {podSubnet: 192.168.0.0/16}"), ["192.168.0.0/16"]);
    }

    #[test]
    fn a_cluster_without_a_pod_subnet_has_none_and_a_malformed_one_is_named() {
        assert!(subnets("networking: {serviceSubnet: 10.96.0.0/12}").is_empty());
        assert!(subnets("kind: ClusterConfiguration").is_empty());
        let error = parse("networking: {podSubnet: 10.244.0.0/99}").unwrap_err();
        assert!(format!("{error:#}").contains("10.244.0.0/99"), "{error:#}");
    }
}
