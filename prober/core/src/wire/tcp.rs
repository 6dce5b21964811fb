//! The TCP header and the options a probe reads (RFC 9293, RFC 7323, RFC 2018).

use super::ParseError;
use super::reader::Reader;
use std::fmt;
use std::ops::BitOr;

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_WINDOW_SCALE: u8 = 3;
const OPTION_SACK_PERMITTED: u8 = 4;
const OPTION_TIMESTAMPS: u8 = 8;

/// The eight control bits (RFC 9293 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u8);

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Port that it comes from.
    pub source_port: u16,
    /// Port that it goes to.
    pub dest_port: u16,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Sequence number expected next; means something only with [`Flags::ACK`].
    pub ack: u32,
    /// The control bits.
    pub flags: Flags,
    /// Receive window, unscaled.
    pub window: u16,
    /// The options understood.
    pub options: Options,
    /// The data, as far as it was captured.
    pub payload: &'a [u8],
}

/// The options a probe understands; any other is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Maximum segment size in bytes (RFC 9293 section 3.7.1).
    pub mss: Option<u16>,
    /// Window scale as a shift count (RFC 7323 section 2.2).
    pub window_scale: Option<u8>,
    /// Selective acknowledgements are welcome (RFC 2018 section 2).
    pub sack_permitted: bool,
    /// TSval and TSecr (RFC 7323 section 3.2).
    pub timestamps: Option<(u32, u32)>,
}

/// Reads a segment; its checksum is not judged.
pub fn parse(bytes: &[u8]) -> Result<Segment<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    let source_port = reader.u16()?;
    let dest_port = reader.u16()?;
    let seq = reader.u32()?;
    let ack = reader.u32()?;
    let [offset, flags] = reader.array()?;
    let window = reader.u16()?;
    let _checksum_and_urgent = reader.u32()?;
    let header_len = usize::from(offset >> 4) * 4;
    let options_len = header_len.checked_sub(HEADER_LEN).ok_or(ParseError::BadLength)?;
    let options = Options::parse(reader.take(options_len)?);
    let flags = Flags(flags);
    let payload = reader.rest();
    Ok(Segment { source_port, dest_port, seq, ack, flags, window, options, payload })
}

impl Segment<'_> {
    /// Appends the segment with a checksum of 0.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let options_len = self.options.emitted_len();
        let data_offset = ((HEADER_LEN + options_len) / 4) as u8;
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.dest_port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([data_offset << 4, self.flags.0]);
        out.extend(self.window.to_be_bytes());
        out.extend([0; 4]);
        let payload_at = out.len() + options_len;
        self.options.emit(out);
        out.resize(payload_at, OPTION_NOP);
        out.extend_from_slice(self.payload);
    }

    /// Gives how much sequence space it takes: data, SYN and FIN (RFC 9293 section 3.4).
    pub fn sequence_len(&self) -> u32 {
        let data = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        data.wrapping_add(u32::from(self.flags.syn())).wrapping_add(u32::from(self.flags.fin()))
    }
}

impl Options {
    /// Reads options until the first malformed one, as receivers do.
    ///
    /// An option whose length is not the one its kind prescribes is skipped.
    fn parse(bytes: &[u8]) -> Self {
        let mut options = Self::default();
        let mut reader = Reader::new(bytes);
        while let Ok(kind) = reader.u8() {
            if kind == OPTION_NOP {
                continue;
            }
            if kind == OPTION_END || options.read(kind, &mut reader).is_err() {
                break;
            }
        }
        options
    }

    /// Reads one option from its length byte on.
    fn read(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<(), ParseError> {
        let len = usize::from(reader.u8()?).checked_sub(2).ok_or(ParseError::BadLength)?;
        match (kind, reader.take(len)?) {
            (OPTION_MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (OPTION_WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (OPTION_SACK_PERMITTED, &[]) => self.sack_permitted = true,
            (OPTION_TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                let (value, echo) = ([a, b, c, d], [e, f, g, h]);
                self.timestamps = Some((u32::from_be_bytes(value), u32::from_be_bytes(echo)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends the options as Linux sends them: in its order, each on whole words (`tcp_options_write`
    /// in net/ipv4/tcp_output.c).
    fn emit(&self, out: &mut Vec<u8>) {
        if let Some(mss) = self.mss {
            out.extend([OPTION_MSS, 4]);
            out.extend(mss.to_be_bytes());
        }
        if self.sack_permitted || self.timestamps.is_some() {
            let sack = [OPTION_SACK_PERMITTED, 2];
            let pad = [OPTION_NOP; 2];
            if self.timestamps.is_none() {
                out.extend(pad);
            }
            out.extend(if self.sack_permitted { sack } else { pad });
        }
        if let Some((value, echo)) = self.timestamps {
            out.extend([OPTION_TIMESTAMPS, 10]);
            out.extend(value.to_be_bytes());
            out.extend(echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            out.extend([OPTION_NOP, OPTION_WINDOW_SCALE, 3, shift]);
        }
    }

    /// Gives the length in bytes of the emitted options: at most 20.
    fn emitted_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let timestamps = match self.timestamps {
            Some(_) => 12,
            None if self.sack_permitted => 4,
            None => 0,
        };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        mss + timestamps + scale
    }
}

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push the data to the application.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// Congestion was experienced (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// The congestion window was reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::FIN, "fin"),
        (Self::SYN, "syn"),
        (Self::RST, "rst"),
        (Self::PSH, "psh"),
        (Self::ACK, "ack"),
        (Self::URG, "urg"),
        (Self::ECE, "ece"),
        (Self::CWR, "cwr"),
    ];

    /// Says whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Says whether FIN is set.
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Says whether SYN is set.
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Says whether RST is set.
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }

    /// Says whether PSH is set.
    pub const fn psh(self) -> bool {
        self.contains(Self::PSH)
    }

    /// Says whether ACK is set.
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Says whether URG is set.
    pub const fn urg(self) -> bool {
        self.contains(Self::URG)
    }

    /// Says whether ECE is set.
    pub const fn ece(self) -> bool {
        self.contains(Self::ECE)
    }

    /// Says whether CWR is set.
    pub const fn cwr(self) -> bool {
        self.contains(Self::CWR)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    /// Writes the names of the bits set, such as `syn|ack`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
