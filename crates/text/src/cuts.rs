//! Places where a text may be cut before it is encoded.
//!
//! # Claim
//! Let bytes x and y never stand next to each other inside a piece. Then a text that has x followed by y may be cut
//! between them: encoding what is before and what is after, and joining the ids, is encoding the whole.
//!
//! # Proof
//! A symbol that is a character or came from a merge is a piece or a single character. One that reached
//! across the place would hold x next to y: as a piece it cannot, and inside one character no place is offered (y
//! would be a continuation byte). So no merge reaches across. The choice of the next merge looks at scores and at the
//! order from left to right; both are the same within each side as in the whole, and a merge on one side
//! changes nothing on the other. So each side goes through the merges that it goes through alone. ∎
//!
//! For Llama this cuts before each run of blanks, around newlines, between letters and most punctuation, and between
//! scripts; nobody told it so, it follows from the vocabulary.

/// For each two bytes, whether a text may be cut between them.
#[derive(Debug)]
pub(crate) struct Cuts {
    /// 1 at `previous + 256 * next` if so. Of 64 KiB only the lines of bytes that occur together get warm.
    table: Box<[u8; 1 << 16]>,
}

/// How many places are looked at together.
pub(crate) const BLOCK: usize = 64;

impl Cuts {
    /// The cuts that these pieces leave.
    pub(crate) fn between<'p>(pieces: impl Iterator<Item = &'p str>) -> Self {
        let is_continuation = |byte: usize| byte & 0xC0 == 0x80;
        let mut table = Box::new([0; 1 << 16]);
        for (pair, may_cut) in table.iter_mut().enumerate() {
            *may_cut = u8::from(!is_continuation(pair >> 8));
        }
        for piece in pieces {
            for pair in piece.as_bytes().windows(2) {
                table[index(pair[0], pair[1])] = 0;
            }
        }
        Self { table }
    }

    /// Bit i says whether to cut behind byte i.
    #[inline]
    pub(crate) fn mask(&self, block: &[u8; BLOCK + 1]) -> u64 {
        let mut mask = 0;
        for start in (0..BLOCK).step_by(8) {
            let bytes: &[u8; 9] = block[start..].first_chunk().expect("there is one more byte");
            let mut eight = 0;
            for i in 0..8 {
                eight |= u64::from(self.table[index(bytes[i], bytes[i + 1])]) << i;
            }
            mask |= eight << start;
        }
        mask
    }
}

#[inline]
fn index(previous: u8, next: u8) -> usize {
    usize::from(u16::from_le_bytes([previous, next]))
}
