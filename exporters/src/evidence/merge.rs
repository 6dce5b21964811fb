//! Files of packets put together (pcapng, draft-ietf-opsawg-pcapng).
//!
//! A file may have several sections, but libpcap (1.10) refuses a second one whose packets begin
//! with their IP header, and a second interface as well. So there is one of each: the heads'
//! comments come together, interfaces of one link type are one, and packets follow in the order of
//! the files.

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const COMMENT: u16 = 1;
/// Magic, version and length of a section, before its options.
const HEAD: usize = 16;
/// Link type and snap length of an interface, before its options.
const KIND: usize = 8;
/// Type and length before a block's body, and the length again behind it.
const FRAME: usize = 12;

/// One file with the packets of all; `None` if they are not as ours are.
pub(super) fn merge(files: &[Vec<u8>]) -> Option<Vec<u8>> {
    let [first, later @ ..] = files else { return None };
    let mut parts = Parts::default();
    parts.take(first)?;
    later.iter().try_for_each(|file| parts.take(file))?;
    parts.write()
}

#[derive(Default)]
struct Parts<'a> {
    head: Option<&'a [u8]>,
    comments: Vec<u8>,
    interfaces: Vec<&'a [u8]>,
    /// Each with the number of its interface in the whole.
    packets: Vec<(u32, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn take(&mut self, mut file: &'a [u8]) -> Option<()> {
        let mut of_section: Vec<u32> = Vec::new();
        while !file.is_empty() {
            let length = usize::try_from(number(file, 4)?).ok()?;
            let body = file.get(8..length.checked_sub(4)?)?;
            match number(file, 0)? {
                SECTION_HEADER => {
                    of_section.clear();
                    self.take_comments(body.get(HEAD..)?)?;
                    self.head.get_or_insert(body);
                }
                INTERFACE => {
                    // Ours differ in their names only: all are stamped in nanoseconds.
                    let kind = body.get(..KIND)?;
                    let mut known = self.interfaces.iter();
                    let known = known.position(|known| known.get(..KIND) == Some(kind));
                    let index = known.unwrap_or(self.interfaces.len());
                    if known.is_none() {
                        self.interfaces.push(body);
                    }
                    of_section.push(u32::try_from(index).ok()?);
                }
                PACKET => {
                    let index = usize::try_from(number(body, 0)?).ok()?;
                    self.packets.push((*of_section.get(index)?, body.get(4..)?));
                }
                _ => return None,
            }
            file = file.get(length..)?;
        }
        Some(())
    }

    fn take_comments(&mut self, mut options: &'a [u8]) -> Option<()> {
        while let Some((option, rest)) = next_option(options) {
            if option.get(..2)? == COMMENT.to_ne_bytes() {
                self.comments.extend(option);
            }
            options = rest;
        }
        Some(())
    }

    /// The first head with all comments, then interfaces, then packets.
    fn write(&self) -> Option<Vec<u8>> {
        let head = self.head?;
        let (fixed, mut options) = head.split_at_checked(HEAD)?;
        let mut body = [fixed, &self.comments].concat();
        while let Some((option, rest)) = next_option(options) {
            if option.get(..2)? != COMMENT.to_ne_bytes() {
                body.extend(option);
            }
            options = rest;
        }
        // No code and no length: the end of the options.
        body.extend([0; 4]);
        let mut whole = Vec::new();
        block(&mut whole, SECTION_HEADER, &[&body])?;
        for interface in &self.interfaces {
            block(&mut whole, INTERFACE, &[interface])?;
        }
        for (interface, rest) in &self.packets {
            block(&mut whole, PACKET, &[&interface.to_ne_bytes(), rest])?;
        }
        Some(whole)
    }
}

/// An option with its padding, and what follows; `None` at their end.
fn next_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    let code = u16::from_ne_bytes(options.get(..2)?.try_into().ok()?);
    let length = u16::from_ne_bytes(options.get(2..4)?.try_into().ok()?);
    let whole = 4 + usize::from(length).next_multiple_of(4);
    (code != 0).then_some(())?;
    options.split_at_checked(whole)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn block(whole: &mut Vec<u8>, kind: u32, bodies: &[&[u8]]) -> Option<()> {
    let body: usize = bodies.iter().map(|body| body.len()).sum();
    let length = u32::try_from(body + FRAME).ok()?.to_ne_bytes();
    whole.extend(kind.to_ne_bytes());
    whole.extend(length);
    bodies.iter().for_each(|body| whole.extend(*body));
    whole.extend(length);
    Some(())
}
