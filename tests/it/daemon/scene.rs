//! A small network for what does not depend on probing intervals: three hosts behind a router.

use anyhow::Result;
use reachd_lab::server::{self, TcpServer, Webhook};
use reachd_lab::{Chain, ChainSpec, Lab, WINDOWS_TTL};

/// Settings that make incidents come and go within seconds.
pub(crate) const QUICK: &str = "\
[defaults]
echo_interval = \"1s\"
syn_interval = \"1s\"
open_after = \"0s\"
close_after = \"1s\"
[[receiver]]
name = \"ops\"
url = \"http://127.0.0.1:8081/\"
";

/// The daemon's node is `v1`; `t` and `n1` serve RDP and SSH, `n2` nothing.
pub(crate) struct Scene {
    /// The network.
    pub(crate) chain: Chain,
    /// The receiver that [`QUICK`] names.
    pub(crate) receiver: Webhook,
    /// Both services of `t`, then those of `n1`.
    pub(crate) servers: Vec<TcpServer>,
}

impl Scene {
    /// Builds it.
    pub(crate) fn build(lab: &mut Lab) -> Result<Self> {
        let chain = Chain::build(lab, ChainSpec { routers: 2, target_ttl: WINDOWS_TTL })?;
        let mut servers = Vec::new();
        for host in [&chain.lan.target, &chain.lan.n1] {
            servers.push(server::rdp_confirm(host, 3389)?);
            servers.push(server::ssh_banner(host, 22)?);
        }
        let receiver = server::webhook(&chain.v1, 8081)?;
        Ok(Self { chain, receiver, servers })
    }

    /// A target with a name: `t`, `n1` or `n2`, and a port, which tells the service.
    pub(crate) fn target(&self, name: &str, host: &str, port: u16) -> String {
        let lan = &self.chain.lan;
        let at = match host {
            "t" => lan.target_at,
            "n1" => lan.n1_at,
            _ => lan.n2_at,
        };
        let service = if port == 22 { "ssh" } else { "rdp" };
        format!(
            "[[target]]\nname = \"{name}\"\nhost = \"{}\"\nport = {port}\nservice = \"{service}\"\n",
            at.v4
        )
    }
}
