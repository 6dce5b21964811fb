//! A program of the owner's: the webhook's JSON on its standard input, its exit code the answer.
//!
//! 0 is taken. 65 (`EX_DATAERR` of sysexits.h) refuses the message. Everything else, 75
//! (`EX_TEMPFAIL`) as well as a program that crashes or is missing, is tried again: an alert is worth
//! more than a program is right about its own failures.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::Carried;
use crate::chain;
use crate::receiver::excerpt;
use crate::webhook::delivery::{Message, Outcome};

/// How long the program may run before it is killed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of its output is kept; the rest is read and dropped, so that it never blocks.
const MAX_OUTPUT: usize = 16 * 1024;

/// How long output is waited for after the exit: a grandchild may hold the pipe for ever.
const AFTER_EXIT: Duration = Duration::from_millis(200);

const EX_DATAERR: i32 = 65;

/// What of systemd's is meant for us alone.
const OWN_VARIABLES: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"];

/// A program and its arguments.
pub(super) struct Program {
    name: String,
    arguments: Vec<String>,
    within: Duration,
}

impl Program {
    /// `None` if no program is named.
    pub(super) fn new(words: &[String]) -> Option<Self> {
        let (name, arguments) = words.split_first()?;
        Some(Self { name: name.clone(), arguments: arguments.to_vec(), within: TIMEOUT })
    }

    /// Runs it once. It is killed if it takes too long, and if we are cancelled.
    pub(super) async fn run(&self, message: &Message) -> Carried {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("REACHD_ID", &message.name);
        command.env("REACHD_STATUS", if message.resolved { "resolved" } else { "firing" });
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Carried::retry(format!("run the program: {}", chain(&error))),
        };
        match tokio::time::timeout(self.within, attend(&mut child, &message.body)).await {
            Ok(Ok((status, output))) => judge(status, &output),
            Ok(Err(error)) => Carried::retry(format!("wait for the program: {}", chain(&error))),
            Err(_) => {
                // Killed again when dropped if this fails; waiting keeps no zombie.
                let _ = child.kill().await;
                Carried::retry(format!("the program ran for more than {:?}", self.within))
            }
        }
    }
}

async fn attend(child: &mut Child, body: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read is no failure of its own: its code decides.
            let _ = stdin.write_all(body).await;
        }
    };
    let mut output = Vec::new();
    let listen = async {
        if let Some(stderr) = stderr {
            drink(stderr, &mut output).await;
        }
    };
    let mut feed = std::pin::pin!(feed);
    let mut ended = None;
    {
        let mut listen = std::pin::pin!(listen);
        let (mut fed, mut heard) = (false, false);
        while ended.is_none() {
            tokio::select! {
                status = child.wait() => ended = Some(status?),
                () = &mut feed, if !fed => fed = true,
                () = &mut listen, if !heard => heard = true,
            }
        }
        if !heard {
            // Late output is a help for people, nothing more.
            let _ = tokio::time::timeout(AFTER_EXIT, &mut listen).await;
        }
    }
    let status = ended.ok_or_else(|| std::io::Error::other("the program has no end"))?;
    Ok((status, output))
}

async fn drink(mut pipe: impl AsyncRead + Unpin, output: &mut Vec<u8>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut piece).await {
        let room = MAX_OUTPUT.saturating_sub(output.len()).min(read);
        output.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
}

fn judge(status: ExitStatus, output: &[u8]) -> Carried {
    let said = excerpt(output);
    let (outcome, code) = match status.code() {
        Some(0) => (Outcome::Accepted, Some(0)),
        Some(code @ EX_DATAERR) => {
            (Outcome::Refused { why: format!("exit code {code}: {said}") }, Some(code))
        }
        Some(code) => {
            let why = format!("exit code {code}: {said}");
            (Outcome::Retry { after: None, why }, Some(code))
        }
        None => {
            let why = format!("the program was killed by a signal: {said}");
            (Outcome::Retry { after: None, why }, None)
        }
    };
    Carried { outcome, status: code.and_then(|code| u16::try_from(code).ok()), code: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::delivery::{Late, MessageId};

    fn message() -> Message {
        let id = MessageId { fingerprint: "00ff".to_owned(), version: 7 };
        Message {
            id,
            name: "0123abcd".to_owned(),
            resolved: false,
            body: "{\"version\":\"4\"}".into(),
            late: Late::default(),
        }
    }

    async fn run(script: &str, within: Duration) -> Carried {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        Program { within, ..Program::new(&words).unwrap() }.run(&message()).await
    }

    async fn check(script: &str, expected: (Option<u16>, &str)) {
        let carried = run(script, TIMEOUT).await;
        let name = match &carried.outcome {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Retry { why, .. } => format!("retry: {why}"),
            Outcome::Refused { why } => format!("refused: {why}"),
            Outcome::Gone => "gone".to_owned(),
        };
        assert_eq!((carried.status, name.as_str()), expected, "{script}");
    }

    #[tokio::test]
    async fn exit_codes_decide() {
        check("exit 0", (Some(0), "accepted")).await;
        check("echo busy >&2; exit 75", (Some(75), "retry: exit code 75: busy")).await;
        check("exit 65", (Some(65), "refused: exit code 65: ")).await;
        check("exit 1", (Some(1), "retry: exit code 1: ")).await;
        let killed = "retry: the program was killed by a signal: ";
        check("kill -9 $$", (None, killed)).await;
    }

    #[tokio::test]
    async fn the_program_reads_the_message_and_its_names() {
        let script = "read -r body; test \"$body\" = '{\"version\":\"4\"}' && \
                      test \"$REACHD_ID $REACHD_STATUS\" = '0123abcd firing' && \
                      test -z \"$NOTIFY_SOCKET\"";
        // `read` fails at the end of a text without a line end; what it read is there all the same.
        check(script, (Some(0), "accepted")).await;
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_and_one_that_is_missing_tried_again() {
        let carried = run("sleep 600", Duration::from_millis(50)).await;
        assert!(matches!(carried.outcome, Outcome::Retry { .. }), "{carried:?}");
        let missing = Program::new(&["/nonexistent/program".to_owned()]).unwrap();
        let carried = missing.run(&message()).await;
        assert!(matches!(carried.outcome, Outcome::Retry { .. }), "{carried:?}");
    }

    #[tokio::test]
    async fn endless_output_neither_blocks_nor_grows() {
        let script = "head -c 3000000 /dev/zero >&2; exit 3";
        let carried = run(script, TIMEOUT).await;
        let Outcome::Retry { why, .. } = carried.outcome else { panic!("not tried again") };
        assert!(carried.status == Some(3) && why.len() < 300, "{why}");
    }
}
