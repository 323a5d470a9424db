//! Counts gRPC messages in a body as it passes: a flag byte, a length of four bytes, the message, and so on.

/// Where in the body it is.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Frames {
    /// Messages begun.
    pub(crate) messages: u64,
    header: [u8; 5],
    have: usize,
    rest: usize,
}

impl Frames {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let skipped = self.rest.min(data.len());
            self.rest -= skipped;
            data = data.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = data.split_first() else {
                return;
            };
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = *byte;
            }
            self.have += 1;
            data = rest;
            if self.have == self.header.len() {
                let [_, a, b, c, d] = self.header;
                self.rest = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.have = 0;
                self.messages += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, length];
        bytes.extend(std::iter::repeat_n(7, length.into()));
        bytes
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = [message(0), message(3), message(200), message(0)].concat();
        for size in 1..=body.len() {
            let mut frames = Frames::default();
            body.chunks(size).for_each(|piece| frames.feed(piece));
            assert_eq!(frames.messages, 4, "pieces of {size}");
        }
        let mut cut = Frames::default();
        cut.feed(&[0, 0, 0]);
        assert_eq!(cut.messages, 0);
    }
}
