//! Signatures by the Standard Webhooks specification 1.0.0.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// A receiver's key. Neither shown nor logged.
#[derive(Clone)]
pub struct Secret(hmac::Key);

/// Why a text is no secret. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The prefix is missing.
    #[error("read a secret: it does not begin with whsec_")]
    Prefix,
    /// What follows is no base64.
    #[error("read a secret: what follows whsec_ is not base64")]
    Encoding,
    /// Too short to be safe, or longer than the specification allows.
    #[error("read a secret of {0} bytes: it must have 24 to 64 (openssl rand -base64 32)")]
    Length(usize),
}

impl Secret {
    /// Reads `whsec_` and base64 of 24 to 64 bytes; white space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Encoding)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The `webhook-signature` of one attempt: over id, the attempt's time and the raw body.
    pub fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{unix_seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's reference libraries.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn bad_secrets_are_refused() {
        let table = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsec_!", SecretError::Encoding),
            ("whsec_c2hvcnQ=", SecretError::Length(5)),
        ];
        for (text, error) in table {
            assert_eq!(Secret::parse(text).unwrap_err(), error);
        }
    }
}
