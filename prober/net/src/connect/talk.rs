//! The conversation on a fresh connection, and a polite end.

use std::io;
use std::time::Duration;

use reachd_core::evidence::ServiceAnswer;
use reachd_core::monitor::ConnectOrder;
use reachd_core::probe::exchange::{Ending, Exchange, READ_LIMIT};
use reachd_core::wording::Wording;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long the peer's end of the connection is waited for, and how much is thrown away for it:
/// closing with unread data would reset the connection.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_BYTES_MAX: usize = 64 * 1_024;

/// Asks the service; gives its answer and how long it took, if it answered at all.
pub(super) async fn ask(
    stream: &mut TcpStream,
    order: &ConnectOrder,
) -> (ServiceAnswer, Option<Duration>) {
    let (banner, send) = (order.expect_banner.as_deref(), order.send.as_deref());
    let mut exchange = Exchange::new(order.service, banner, send);
    if !exchange.asks() {
        return (ServiceAnswer::NotAsked, None);
    }
    let begun = Instant::now();
    match tokio::time::timeout(order.service_timeout, hear(stream, &mut exchange)).await {
        Ok(Ok(answer)) => (answer, Some(begun.elapsed())),
        Ok(Err(ending)) => (exchange.handle_end(ending), None),
        Err(_) => (exchange.handle_end(Ending::TimedOut), None),
    }
}

/// Sends the request and reads until there is an answer or an end.
async fn hear(stream: &mut TcpStream, exchange: &mut Exchange) -> Result<ServiceAnswer, Ending> {
    let request = exchange.request().to_vec();
    if !request.is_empty() {
        stream.write_all(&request).await.map_err(|error| ending_of(&error))?;
    }
    let mut buffer = [0; READ_LIMIT];
    let mut heard = 0;
    while heard < READ_LIMIT {
        let length = match stream.read(&mut buffer).await {
            Ok(0) => return Err(Ending::Closed),
            Ok(length) => length,
            Err(error) => return Err(ending_of(&error)),
        };
        heard += length;
        if let Some(answer) = exchange.handle_bytes(buffer.get(..length).unwrap_or_default()) {
            return Ok(answer);
        }
    }
    let hint = Wording::new(
        format!("no answer within {READ_LIMIT} bytes"),
        format!("{READ_LIMIT} 字节内没有应答"),
    );
    Ok(ServiceAnswer::Foreign { hint })
}

pub(super) fn ending_of(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ending::Reset,
        // What TLS says of a connection that was closed without its own goodbye.
        io::ErrorKind::UnexpectedEof => Ending::Closed,
        _ => Ending::TimedOut,
    }
}

/// Ends the connection with FIN and takes what the peer still says, so that close does not reset.
pub(super) async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let goodbye = async {
        stream.shutdown().await?;
        let mut buffer = [0; 4_096];
        let mut heard = 0;
        while heard < PARTING_BYTES_MAX {
            match stream.read(&mut buffer).await? {
                0 => break,
                length => heard += length,
            }
        }
        io::Result::Ok(())
    };
    // Whatever goes wrong now, the report was made before.
    let _ = tokio::time::timeout(PARTING, goodbye).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_goodbye_is_no_silence() {
        for (kind, expected) in [
            (io::ErrorKind::UnexpectedEof, Ending::Closed),
            (io::ErrorKind::ConnectionReset, Ending::Reset),
            (io::ErrorKind::BrokenPipe, Ending::Reset),
            (io::ErrorKind::TimedOut, Ending::TimedOut),
        ] {
            assert_eq!(ending_of(&io::Error::from(kind)), expected, "{kind:?}");
        }
    }
}
