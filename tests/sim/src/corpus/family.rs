//! Families: what is broken in a case, and what the truth about it is.

use reachd_core::judge::Class;
use reachd_core::judge::cause::CAUSES;
use reachd_core::target::Service;
use serde::Deserialize;

use super::manifest::{Confounder, ManifestError, Topology};
use super::strike::Strike;

/// The files of the families, by class.
macro_rules! files {
    ($($class:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] = &[$((
            concat!($class, ".toml"),
            include_str!(concat!("../../../scenarios/families/", $class, ".toml")),
        )),*];
    };
}

files! {
    "reachable", "packet_loss", "partial_path", "blackhole", "no_route", "routing_loop",
    "host_silent", "security_group", "source_blocked", "rejected", "port_closed",
    "reset_injected", "mtu_blackhole", "service_hung", "wrong_service", "rdp_refused",
    "certificate", "dns_failure", "vantage_fault",
}

/// What a case really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth {
    /// The class.
    pub class: Class,
    /// The cause, as its place in the judge's table.
    pub cause: usize,
}

impl Truth {
    /// The name of the cause.
    pub fn cause_name(self) -> &'static str {
        CAUSES.get(self.cause).map_or("", |cause| cause.name)
    }
}

/// Which vantages a family needs to show what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Whatever there is.
    #[default]
    Any,
    /// One and no other.
    Lone,
    /// At least two outside.
    Several,
    /// One inside the provider as well.
    Inside,
}

impl Needs {
    /// Whether a topology has them.
    pub const fn met_by(self, topology: &Topology) -> bool {
        match self {
            Self::Any => true,
            Self::Lone => topology.outside == 1 && topology.inside == 0,
            Self::Several => topology.outside >= 2,
            Self::Inside => topology.inside >= 1,
        }
    }
}

/// A family of cases.
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What its cases are.
    pub truth: Truth,
    /// What is asked of the target.
    pub service: Service,
    /// How many times the manifest's counts it has.
    pub weight: u64,
    /// Confounders that say nothing about it.
    pub without: Vec<Confounder>,
    /// Which vantages it needs.
    pub needs: Needs,
    /// What is broken.
    pub strikes: Vec<Strike>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    family: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    class: String,
    cause: String,
    #[serde(default)]
    service: ServiceName,
    #[serde(default = "once")]
    weight: u64,
    #[serde(default)]
    without: Vec<Confounder>,
    #[serde(default)]
    needs: Needs,
    strike: Vec<Strike>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ServiceName {
    #[default]
    Rdp,
    Ssh,
    Tcp,
    Ping,
}

const fn once() -> u64 {
    1
}

impl Entry {
    fn into_family(self) -> Result<Family, ManifestError> {
        let place = CAUSES
            .iter()
            .position(|cause| cause.name == self.cause && cause.class.as_str() == self.class);
        let truth = place.zip(Class::from_name(&self.class));
        let Some((cause, class)) = truth else {
            let Self { name: family, class, cause, .. } = self;
            return Err(ManifestError::Truth { family, class, cause });
        };
        let service = match self.service {
            ServiceName::Rdp => Service::Rdp,
            ServiceName::Ssh => Service::Ssh,
            ServiceName::Tcp => Service::Tcp,
            ServiceName::Ping => Service::Ping,
        };
        Ok(Family {
            name: self.name,
            truth: Truth { class, cause },
            service,
            weight: self.weight,
            without: self.without,
            needs: self.needs,
            strikes: self.strike,
        })
    }
}

impl Family {
    /// Reads every family that is built in, in the order of the files.
    ///
    /// # Errors
    /// If a file is not of this shape, or names a truth that does not exist.
    pub fn load_all() -> Result<Vec<Self>, ManifestError> {
        let mut families = Vec::new();
        for (name, text) in FILES {
            let file: File = toml::from_str(text)
                .map_err(|error| ManifestError::Read { file: name, error: Box::new(error) })?;
            for entry in file.family {
                families.push(entry.into_family()?);
            }
        }
        Ok(families)
    }
}
