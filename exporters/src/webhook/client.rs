//! The way from a receiver's settings to its carrier.

pub use crate::carry::{Carried, Carrier, CarrierError as ClientError};
use crate::receiver::{Dialect, Kind};

use super::Settings;

/// The carrier that settings ask for.
pub fn carrier(settings: &Settings) -> Result<Carrier, ClientError> {
    let template = |error| ClientError::Template { receiver: settings.name.clone(), error };
    let kind = match (&settings.kind, &settings.secret) {
        (Kind::Webhook { secret: None }, secret) => Kind::Webhook { secret: secret.clone() },
        (kind, _) => kind.clone(),
    };
    let dialect = Dialect::new(kind, settings.template.as_deref()).map_err(template)?;
    Carrier::new(&settings.name, dialect, &settings.route())
}
